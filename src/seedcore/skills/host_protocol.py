"""The messages between a dispatcher and the host that runs skills: calls and completions, in batches.

A batch is sent as columns (`to_columns`): serializing one object a task costs more than running a small task.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

Columns = tuple[Sequence[object], ...]
"""A batch by fields, all of one length; empty for no calls."""


HANDED_BACK = "handed_back"
"""`error_code` of a call that its host returned unfinished through no fault of the task; the attempt does not count."""


class Call(NamedTuple):
    """One attempt at a skill; `params` is JSON text, `task_id` a UUID as text."""

    task_id: str
    token: int
    attempt: int
    skill: str
    params: str
    agent: str
    timeout_s: float | None
    idempotency_key: str


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
    """A batch as one sequence a field. The last field of completions is left out when none of them has it."""
    columns = tuple(zip(*batch, strict=True))
    return columns[:-1] if len(columns) == len(Completion._fields) and not any(columns[-1]) else columns


def calls_of(columns: Columns) -> list[Call]:
    """The calls that `to_columns` was given."""
    return list(map(Call._make, zip(*columns, strict=True)))


def completions_of(columns: Columns) -> list[Completion]:
    """The completions that `to_columns` was given."""
    if 0 < len(columns) < len(Completion._fields):
        columns = (*columns, (None,) * len(columns[0]))
    return list(map(Completion._make, zip(*columns, strict=True)))
