"""Forecasts of arriving tasks: what `POST /ml/predict/scaling` takes and answers."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

SLOT_S = 15
"""Arrivals are counted in slots of so many seconds."""

MAX_POINTS = 500

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


class ScalingRequest(BaseModel):
    """Which tasks, and how far ahead."""

    model_config = ConfigDict(extra="forbid")

    queue: Name | None = Field(None, description="whose tasks; all queues when not given")
    type: Name | None = Field(None, description="their type; all types when not given")
    horizon_s: int = Field(
        3600, ge=SLOT_S, le=7 * 86_400, description=f"how far ahead of now, at most {MAX_POINTS} steps"
    )
    step_s: int = Field(
        300, ge=SLOT_S, le=86_400, description=f"seconds of a step, a multiple of {SLOT_S}; 10,000 steps count at most"
    )
    level: float = Field(0.8, ge=0.5, le=0.99, description="share of counts that intervals shall hold")
    hosts: bool = Field(True, description="also say how many hosts are wanted; false asks no other service")

    @field_validator("step_s")
    @classmethod
    def _whole_slots(cls, value: int) -> int:
        if value % SLOT_S:
            raise ValueError(f"must be a multiple of {SLOT_S}")
        return value


class ForecastPoint(BaseModel):
    """What is expected in one step: tasks a second."""

    at: datetime = Field(description="when the step begins")
    per_s: float = Field(description="the mean")
    low: float = Field(description="of the interval for this step")
    high: float


class HostNeed(BaseModel):
    """The hosts of an organ that run the tasks that are forecast."""

    organ: str
    now: int = Field(description="living hosts; of an organ without hosts of its own, the workers its agents live in")
    wanted: int | None = Field(
        description="for the highest upper bound of the forecast; null: not known, `why` says why"
    )
    shared: bool = Field(description="its agents live in workers, which other organs use too")
    load: float | None = Field(description="tasks in hand at that bound: tasks a second times their seconds")
    why: str | None = None


class ScalingResponse(BaseModel):
    """The forecast, and the hosts that it calls for."""

    forecast: list[ForecastPoint]
    hosts: list[HostNeed]
    source: Literal["seasonal", "level", "too_little_history"] = Field(
        description="seasonal: level, trend and `seasons_s`; level: no season foresees better; too_little_history: the "
        "mean of what came, with an interval that is wide and not calibrated"
    )
    level: float = Field(description="share of counts that intervals shall hold")
    coverage: float | None = Field(description="share that past intervals did hold; null: none could be tried")
    coverage_of: int = Field(description="past intervals that it was measured on")
    calibrated_s: float = Field(description="ahead of the history's end; beyond, intervals are widened by a rule")
    seasons_s: list[float] = Field(description="seasons in use, in seconds")
    history_s: float = Field(description="recorded time that was used")
    step_s: int
    seconds_per_task: dict[str, float] = Field(description="measured mean by type, of the types that came in a day")
    notes: list[str] = Field(description="what could not be known")
