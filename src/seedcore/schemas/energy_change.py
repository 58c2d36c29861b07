"""Models of `GET /energy/change`: what a change at a moment cost."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

_NO_NUL = r"^[^\x00]*$"


class ChangeRequest(BaseModel):
    """Whether the energy changed at a moment. `type` and `domain` choose tasks, `scope` (`organ/type`) the ledger's."""

    model_config = ConfigDict(extra="forbid")

    at: AwareDatetime | None = Field(None, description="the moment; give this or `since`")
    since: AwareDatetime | None = Field(None, description="the same by another name")
    window_s: float = Field(600, gt=0, le=86_400, allow_inf_nan=False, description="on both sides")
    scope: Annotated[str, Field(max_length=500, pattern=_NO_NUL)] | None = None
    type: Annotated[str, Field(max_length=200, pattern=_NO_NUL)] | None = None
    domain: Annotated[str, Field(max_length=200, pattern=_NO_NUL)] | None = None

    @model_validator(mode="after")
    def _one_moment(self) -> "ChangeRequest":
        if (self.at is None) == (self.since is None):
            raise ValueError("give exactly one of at and since")
        if not 2000 <= self.moment.year < 3000:
            raise ValueError("at and since must lie in the years 2000 to 2999")
        return self

    @property
    def moment(self) -> datetime:
        """The moment that is asked about."""
        found = self.at or self.since
        assert found is not None
        return found


class TaskCost(BaseModel):
    """Means of a task's seconds or failures before and after a moment, and their difference with its 95 % interval."""

    before: float | None
    after: float | None
    change: float | None = Field(description="null: fewer than 30 tasks on a side")
    low: float | None
    high: float | None


class EnergyChangeOut(BaseModel):
    """The change of the mean realised ΔE of an outcome (seconds²), measured by the ledger; the interval holds 95 %.

    The ledger knows no domains: with `domain` it is null. `seconds` and `failures` are of ended tasks.
    """

    before: int = Field(description="outcomes before the moment")
    after: int
    change: float | None = Field(description="null: fewer than 30 outcomes on a side")
    low: float | None
    high: float | None
    at: datetime
    window_s: float
    scope: str | None
    tasks_before: int = Field(description="ended tasks that were submitted before the moment")
    tasks_after: int
    seconds: TaskCost
    failures: TaskCost
    enough: bool = Field(description="whether there were 30 tasks on each side")
    verdict: Literal["worse", "better", "no_change_shown", "too_little_data"] = Field(
        description="of the energy: `worse` and `better` only when the interval leaves zero out"
    )
