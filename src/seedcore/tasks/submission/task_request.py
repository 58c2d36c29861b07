"""A submission as clients send it, as a pydantic model."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seedcore.tasks.submission import task_options
from seedcore.tasks.submission.task_options import NUMBER, QUEUE_NAME, Key, Moment, Text

__all__ = ["QUEUE_NAME", "Key", "LimitIn", "TaskIn", "Text"]


class LimitIn(BaseModel):
    """How many tasks of a key run at once, how many start in a second; fields that are null stay as they are."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    key: Annotated[str, task_options.LIMIT_KEY.field]
    max_running: Annotated[int, task_options.MAX_RUNNING.field, NUMBER] | None = None
    rate_per_s: Annotated[float, task_options.RATE_PER_S.field, NUMBER] | None = None
    burst: Annotated[int, task_options.BURST.field, NUMBER] | None = None
    cost: Annotated[float, task_options.COST.field, NUMBER] | None = Field(
        1.0, description="how much of the key's rate this task takes"
    )


class TaskIn(BaseModel):
    """A task to submit; null stands for an option that is not given."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    type: Annotated[str, task_options.TYPE.field] = Field(description="a skill's name, or `goal`")
    params: dict[str, Any] = Field(default_factory=dict)
    queue: Annotated[str, Field(pattern=QUEUE_NAME)] | None = Field(
        None, description="the one that its skill declares when left out, else `default`"
    )
    domain: Text | None = None
    priority: Annotated[int, task_options.PRIORITY.field, NUMBER] | None = Field(0, description="the higher runs first")
    max_attempts: Annotated[int, task_options.MAX_ATTEMPTS.field, NUMBER] | None = None
    timeout_s: Annotated[float, task_options.TIMEOUT_S.field, NUMBER] | None = None
    run_after: Moment | None = None
    deadline: Moment | None = Field(
        None, description="when it ends as failed (`deadline_exceeded`) if it has not ended before"
    )
    idempotency_key: Key | None = None
    idempotency_period_s: Annotated[float, task_options.PERIOD_S.field, NUMBER] | None = Field(
        None, description="seconds after which the key is free again"
    )
    limit: LimitIn | None = None
    limits: Annotated[list[LimitIn], Field(min_length=1, max_length=task_options.MAX_LIMITS)] | None = Field(
        None, description="instead of `limit`: several, each of another key; the task waits until all have room"
    )

    @model_validator(mode="after")
    def _has_distinct_limits(self) -> Self:
        if self.limits is not None:
            if self.limit is not None:
                raise ValueError("give either `limit` or `limits`")
            if len({limit.key for limit in self.limits}) < len(self.limits):
                raise ValueError("`limits` name a key twice")
        return self
