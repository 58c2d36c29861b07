"""A task as clients write it."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]
"""PostgreSQL cannot keep U+0000."""

Key = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


def _representable(moment: datetime) -> datetime:
    if not 1970 <= moment.year <= 9998:
        raise ValueError("must lie in the years 1970 to 9998")
    return moment


class TaskIn(BaseModel):
    """A task to submit."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    type: str = Field(min_length=1, max_length=200, description="a skill's name, or `goal`")
    params: dict[str, Any] = Field(default_factory=dict)
    queue: str = Field("default", pattern=r"^[a-z][a-z0-9_-]{0,62}$")
    domain: Text | None = None
    priority: int = Field(0, ge=-100, le=100, description="the higher runs first")
    max_attempts: int | None = Field(None, ge=1, le=100)
    timeout_s: float | None = Field(None, ge=0.001, le=86_400)
    run_after: Annotated[AwareDatetime, AfterValidator(_representable)] | None = None
    idempotency_key: Key | None = None
