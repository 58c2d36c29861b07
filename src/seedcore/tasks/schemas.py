"""A task as clients write it."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

QUEUE_NAME = r"^[a-z][a-z0-9_-]{0,62}$"

Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]
"""PostgreSQL cannot keep U+0000."""

Key = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


def _representable(moment: datetime) -> datetime:
    if not 1970 <= moment.year <= 9998:
        raise ValueError("must lie in the years 1970 to 9998")
    return moment


class LimitIn(BaseModel):
    """How many tasks of a key run at once, how many start in a second; what is not said stays as the key has it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    key: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")
    max_running: int | None = Field(None, ge=1, le=1_000_000)
    rate_per_s: float | None = Field(None, gt=0, le=1_000_000)
    burst: int | None = Field(None, ge=1, le=1_000_000)


class TaskIn(BaseModel):
    """A task to submit."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    type: str = Field(min_length=1, max_length=200, description="a skill's name, or `goal`")
    params: dict[str, Any] = Field(default_factory=dict)
    queue: str = Field("default", pattern=QUEUE_NAME)
    domain: Text | None = None
    priority: int = Field(0, ge=-100, le=100, description="the higher runs first")
    max_attempts: int | None = Field(None, ge=1, le=100)
    timeout_s: float | None = Field(None, ge=0.001, le=86_400)
    run_after: Annotated[AwareDatetime, AfterValidator(_representable)] | None = None
    deadline: Annotated[AwareDatetime, AfterValidator(_representable)] | None = Field(
        None, description="when it ends as failed (`deadline_exceeded`) if it has not ended before"
    )
    idempotency_key: Key | None = None
    idempotency_period_s: float | None = Field(
        None, gt=0, le=366 * 86_400, description="seconds after which the key is free again"
    )
    limit: LimitIn | None = None
