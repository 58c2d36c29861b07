"""Request bodies and queries of the gateway."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seedcore.errors import InvalidInputError
from seedcore.tasks.submission import task_options
from seedcore.tasks.submission.task_options import Text


class BatchIn(BaseModel):
    """Tasks to submit together: all or none."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    tasks: list[dict[str, object]] = Field(min_length=1)


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
    tenant: Text | None = Field(None, description="of callers who see all tenants: those of this one")
    cursor: str | None = Field(None, description="`next_cursor` of the page before")
    limit: int = Field(50, ge=1, le=500)


class DeadQuery(BaseModel):
    """Filters of `GET /dead`."""

    model_config = ConfigDict(extra="forbid")

    type: Text | None = None
    code: Text | None = Field(None, description="the error code")
    tenant: Text | None = Field(None, description="of callers who see all tenants: those of this one")
    cursor: str | None = Field(None, description="`next_cursor` of the page before")
    limit: int = Field(50, ge=1, le=500)


class RequeueIn(BaseModel):
    """Which dead letters run again: those named, or the newest of a type, an error code, or both."""

    model_config = ConfigDict(extra="forbid")

    ids: list[UUID] | None = Field(None, min_length=1, max_length=1000)
    type: Text | None = None
    code: Text | None = None
    tenant: Text | None = Field(None, description="of callers who see all tenants: those of this one")
    limit: int = Field(1000, ge=1, le=1000)

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if (self.ids is None) == (self.type is None and self.code is None):
            raise ValueError("name either `ids`, or `type` or `code`")
        return self


class LimitBody(BaseModel):
    """The limit of a key; null removes a bound."""

    model_config = ConfigDict(extra="forbid")

    max_running: Annotated[int, task_options.MAX_RUNNING.field, task_options.NUMBER] | None = None
    rate_per_s: Annotated[float, task_options.RATE_PER_S.field, task_options.NUMBER] | None = None
    burst: Annotated[int, task_options.BURST.field, task_options.NUMBER] = 1


def parse_uuid(value: str | None, field: str) -> UUID | None:
    """A task's id from a query.

    Raises:
        InvalidInputError: it is not a UUID.
    """
    try:
        return None if value is None else UUID(value)
    except ValueError:
        raise InvalidInputError.for_field(field, "not a valid task id") from None
