"""Models of `POST /cognitive/reason-about-failure`."""

from typing import Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seedcore.schemas.cognitive.engine_answer import Chance, EngineAnswer, EngineChoice, Name, OnBehalf, StrictInput

MAX_COUNT = 2**53
"""Integers that every double holds."""


class ValveFacts(StrictInput):
    """The state of a stream's valve; see `GET /pipeline/valve`."""

    state: Literal["learning", "closed", "open", "unwatched"]
    evidence: float | None = Field(None, ge=0, le=1)
    arl0: float | None = Field(None, gt=0)
    since_alarm: int | None = Field(None, ge=0, le=MAX_COUNT, description="observations since its last alarm")


class ModelFacts(StrictInput):
    """A monitor of a model in use: what it had seen when it said that the model's world changed."""

    name: Name
    monitor: Literal["inputs", "losses", "accuracy"]
    evidence: float = Field(ge=0, le=1)
    observed: int = Field(ge=0, le=MAX_COUNT)
    arl0: float = Field(gt=1)


class SeriesPoint(BaseModel):
    """A point that stands out; other fields of `/ml/detect/anomaly` are ignored."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    index: int = Field(ge=0, le=MAX_COUNT)
    score: float = Field(ge=0)
    chance: Chance | None = None


class SeriesFinding(BaseModel):
    """The answer of `/ml/detect/anomaly`, with a name."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    name: Name
    points: int = Field(ge=1, le=MAX_COUNT)
    anomalies: list[SeriesPoint] = Field(max_length=20_000)


class ReasonRequest(StrictInput, EngineChoice, OnBehalf):
    """What failed: a task or a stream (`type` or `domain/type`), findings in series, or both."""

    task_id: UUID | None = None
    stream: Name | None = None
    findings: list[SeriesFinding] = Field(default_factory=list, max_length=100)
    valve: ValveFacts | None = Field(None, description="of the stream; requested from the Coordinator when absent")
    model: ModelFacts | None = Field(None, description="a monitor of a model in use")
    window_s: float = Field(3600.0, ge=1, le=604_800, description="what is `now`; four times as much is `before`")

    @model_validator(mode="after")
    def _about_something(self) -> Self:
        if self.task_id is None and self.stream is None and not self.findings and self.model is None:
            raise ValueError("give a task_id, a stream, findings or a model")
        if self.task_id is not None and self.stream is not None:
            raise ValueError("a task has its own stream: give task_id or stream, not both")
        return self


class HypothesisOut(BaseModel):
    """A possible cause and its evidence.

    `belief` is its posterior share among the listed causes, which are equally likely a priori; `log10_bayes` is the
    Bayes factor against chance, in powers of ten; `numbers` are the counts and chances behind both.
    """

    name: str
    kind: str
    about: str | None
    belief: float
    log10_bayes: float
    numbers: dict[str, object]


class SubjectOut(BaseModel):
    """What failed."""

    task_id: str | None
    stream: str | None
    codes: list[str] = Field(description="of its failed attempts, in order")
    agent: str | None
    host: str | None


class ReasonResponse(EngineAnswer):
    """Hypotheses, the likeliest first; `absent` lists those that could not be judged, and why."""

    method: Literal["evidence"] = "evidence"
    subject: SubjectOut
    hypotheses: list[HypothesisOut]
    absent: dict[str, str]
    tasks: int = Field(description="ended tasks that were examined")
    window_s: float
    covered_s: float | None = Field(description="how far back they go, when there were more than are examined")
    explanation: str | None = Field(None, description="by the language model: which of the hypotheses it holds true")
    likely: str | None = Field(None, description="name of the hypothesis that the explanation is about")
