"""The messages between a dispatcher and the host that runs skills: calls and completions, in batches.

A batch is sent as columns (`to_columns`): serializing one object a task costs more than running a small task.
"""

from collections.abc import Iterable, Sequence
from itertools import starmap
from typing import NamedTuple

Columns = tuple[Sequence[object], ...]
"""A batch by fields, all of one length; empty for no calls."""


NO_TENANT = "default"
"""Whose calls are that name no tenant."""

HANDED_BACK = "handed_back"
"""`error_code` of a call that its host returned unfinished through no fault of the task; the attempt does not count."""


class Call(NamedTuple):
    """One attempt at a skill; `params` is JSON text, `task_id` a UUID as text.

    `traceparent`: the span that the run is below, and whether it is recorded; None: the trace is the task's own, and is
    not.
    """

    task_id: str
    token: int
    attempt: int
    skill: str
    params: str
    agent: str
    timeout_s: float | None
    idempotency_key: str
    tenant: str = NO_TENANT
    traceparent: str | None = None

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        return self.task_id.replace("-", "") if self.traceparent is None else self.traceparent[3:35]

    def log_fields(self) -> dict[str, object]:
        """What names this attempt in a log."""
        return {
            "task": self.task_id,
            "trace": self.trace_id,
            "tenant": self.tenant,
            "skill": self.skill,
            "attempt": self.attempt,
        }

    def __reduce__(self) -> tuple[type["Call"], tuple[object, ...]]:
        # The release before knows neither tenant nor trace.
        fields = tuple(self)
        return Call, fields if self.traceparent else fields[:-1] if self.tenant != NO_TENANT else fields[:-2]


class Completion(NamedTuple):
    """How a call ended; `result` is JSON text when `ok`. `seconds` is the time that the skill took.

    `retry_within_s`: the longest pause before the next attempt, when the skill's retry policy sets one. `usage`: tokens
    and money that the skill reported, None when it reported nothing.
    """

    task_id: str
    token: int
    agent: str
    skill: str
    ok: bool
    seconds: float
    result: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    retryable: bool = False
    retry_within_s: float | None = None
    usage: tuple[float, float] | None = None


def to_columns(batch: Iterable[Call] | Iterable[Completion]) -> Columns:
    """A batch as one sequence a field. The last fields, which the release before does not know, are left out when no
    call has any."""
    columns = tuple(zip(*batch, strict=True))
    if len(columns) == len(Call._fields):
        if not any(columns[-1]):
            columns = columns[:-1] if set(columns[-2]) != {NO_TENANT} else columns[:-2]
    elif columns and not any(columns[-1]):
        columns = columns[:-1]
    return columns


def calls_of(columns: Columns) -> list[Call]:
    """The calls that `to_columns` was given."""
    return list(starmap(Call, zip(*columns, strict=True)))


def completions_of(columns: Columns) -> list[Completion]:
    """The completions that `to_columns` was given."""
    if 0 < len(columns) < len(Completion._fields):
        columns = (*columns, (None,) * len(columns[0]))
    return list(map(Completion._make, zip(*columns, strict=True)))
