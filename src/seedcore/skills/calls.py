"""What crosses from a dispatcher to a host and back: plain, small, in batches."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt at a skill; `params` is JSON text, `task_id` a UUID as text."""

    task_id: str
    token: int
    attempt: int
    skill: str
    params: str
    agent: str
    timeout_s: float | None
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class Completion:
    """How a call ended; `result` is JSON text when `ok`. `seconds` is the time that the skill took.

    `retry_within_s`: the longest pause before the next attempt, where the skill has a say in it.
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
