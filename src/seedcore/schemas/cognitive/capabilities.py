"""Models of `POST /cognitive/assess-capabilities`."""

from typing import Literal

from pydantic import BaseModel, Field

from seedcore.schemas.cognitive.engine_answer import EngineAnswer, EngineChoice, OnBehalf, StrictInput

GapKind = Literal["rejected_type", "unreached_goal", "failing_skill", "missing_field"]


class AssessCapabilitiesRequest(StrictInput, EngineChoice, OnBehalf):
    """How far back to look."""

    window_s: float = Field(604_800.0, ge=60, le=2_592_000, description="tasks that were submitted within it")
    most: int = Field(50, ge=1, le=500, description="gaps to list at most, of each kind")


class CapabilityGap(BaseModel):
    """Something that SeedCore was asked for and could not do, or does badly.

    `count` tasks are behind it. `numbers` are the counts and rates that it was found by; `suggestion` says what would
    close it.
    """

    kind: GapKind
    name: str
    count: int
    detail: str
    suggestion: str
    numbers: dict[str, object] = Field(default_factory=dict)


class AssessCapabilitiesResponse(EngineAnswer):
    """Gaps, those behind the most tasks first; `summary` is one sentence about them."""

    gaps: list[CapabilityGap]
    skills: int = Field(description="skills that plans may use")
    tasks: int = Field(description="ended tasks that were examined")
    window_s: float
    covered_s: float | None = Field(description="how far back they go, when there were more than are examined")
    summary: str
