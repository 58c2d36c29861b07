"""What is asked and answered about an escalated task, in addition to its plan."""

from dataclasses import dataclass
from typing import NotRequired, TypedDict
from uuid import UUID

from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class EscalatedTask:
    """Whose plan is asked for, and why: its stream looks unlike its past, by a rule of the policy."""

    stream: str
    rule: str
    why: str
    evidence: float | None
    tenant: str
    task_id: UUID


class MoveJson(TypedDict):
    """What to do about an escalated task: see `schemas.cognitive.moves.MoveOut`."""

    move: str
    kind: str
    reason: str
    expected_cost: float
    options: list[JsonValue]
    incident: str
    direct_good: int
    direct_bad: int
    sample: int | None
    sample_after: NotRequired[str | None]
    again_s: float
