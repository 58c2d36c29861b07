"""What the gateway takes."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from seedcore.tasks.schemas import Text


class BatchIn(BaseModel):
    """Tasks to submit together: all or none."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    tasks: list[dict[str, Any]] = Field(min_length=1)


class BatchOut(BaseModel):
    """The ids of a batch, in its order."""

    ids: list[str]


class RejectIn(BaseModel):
    """Why a person refuses a task."""

    reason: str = Field("rejected by a person", min_length=1, max_length=2000, pattern=r"^[^\x00]*$")


class TaskQuery(BaseModel):
    """Filters of `GET /tasks`."""

    model_config = ConfigDict(extra="forbid")

    status: str | None = None
    type: Text | None = None
    queue: Text | None = None
    domain: Text | None = None
    parent_id: str | None = None
    cursor: str | None = Field(None, description="`next_cursor` of the page before")
    limit: int = Field(50, ge=1, le=500)
