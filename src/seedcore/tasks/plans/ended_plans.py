"""How tasks that had a plan ended, and their steps: what memory keeps of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from seedcore.stores.postgres import loads
from seedcore.tasks.sql.history import ENDED_PLANS


@dataclass(frozen=True, slots=True)
class EndedStep:
    """A step, and how it ended; `status` None: its end is not known any more."""

    step: str
    skill: str
    status: str | None
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class EndedPlan:
    """A task that had a plan and has ended.

    Attributes:
        goal: of a task that names a goal, as JSON; None: its type says what it is for.
        inputs: names of what it was given.
        steps: of its last plan, in the order in which they were planned, at most 64.
        seconds: from its first plan to its end.
        rule: of the decision that had it planned.
    """

    id: UUID
    tenant: str
    type: str
    domain: str | None
    status: str
    error_code: str | None
    error_message: str | None
    seconds: float | None
    finished_at: datetime
    replans: int
    recipe: bool
    rule: str | None
    goal: str | None
    inputs: tuple[str, ...]
    steps: tuple[EndedStep, ...]


async def ended_plans(connection: asyncpg.Connection, ids: Sequence[UUID]) -> list[EndedPlan]:
    """Those of these tasks that have ended and have steps; the others are left out."""
    found = [_plan(row) for row in await connection.fetch(ENDED_PLANS, list(ids))]
    return [plan for plan in found if plan.steps]


def _plan(row: asyncpg.Record) -> EndedPlan:
    values = dict(row)
    steps = tuple(EndedStep(**step) for step in loads(values.pop("steps")))
    return EndedPlan(**values | {"inputs": tuple(values["inputs"]), "steps": steps})
