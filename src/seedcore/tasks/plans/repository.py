"""Store plans: a leased goal becomes a waiting parent, and its steps become tasks."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg

from seedcore.tasks.model import CompletedStep, EarlierPlan, Lease, PlanTerms, StepSpec, Usage
from seedcore.tasks.plans.moves import MoveNote, note_move
from seedcore.tasks.sql.finish import SETTLE
from seedcore.tasks.sql.plans import (
    BIND,
    PLAN_PARENT,
    PLAN_STEPS,
    PLAN_TERMS,
    PLAN_WAIT,
    PLANNED_BEFORE,
    PLANNING_SPENT,
)


async def read_earlier_plan(
    connection: asyncpg.Connection, task_id: UUID, signature: str
) -> tuple[EarlierPlan | None, Mapping[str, Any] | None]:
    """The earlier plan of a task that is planned again, and the recipe for `signature`; None: there is none."""
    row = await connection.fetchrow(PLANNED_BEFORE, task_id, signature)
    recipe = None if row["recipe"] is None else json.loads(row["recipe"])
    if row["replans"] is None:
        return None, recipe
    done = tuple(CompletedStep(name, skill, UUID(task)) for name, skill, task in json.loads(row["done"] or "[]"))
    return EarlierPlan(row["replans"], tuple(row["without"]), row["steps"], done), recipe


async def store_plan(
    connection: asyncpg.Connection,
    lease: Lease,
    decision: str,
    plan: str,
    steps: Sequence[StepSpec],
    terms: PlanTerms | None = None,
    done: Sequence[UUID] = (),
    move: MoveNote | None = None,
    usage: Usage | None = None,
) -> bool:
    """Turn a leased goal into a waiting parent and its steps into tasks, all or none.

    Without `terms` a step that fails ends the plan, and nothing bounds what it spends. A plan without steps takes all
    that it gives from those that are `done` already, and ends at once.
    Returns False, and changes nothing, when the lease was lost. `move` is what is tried for escalated work, `usage`
    what making the plan used.

    Raises:
        SampleFullError: the task was to be in a sample, and waits instead; nothing is changed.
    """
    waiting = [step for step in steps if step.needs]
    async with connection.transaction():
        row = await connection.fetchrow(PLAN_PARENT, lease.id, lease.token, decision, plan, len(steps))
        if row is None:
            return False
        if usage is not None:
            await connection.execute(PLANNING_SPENT, lease.id, lease.token, *usage)
        if move is not None:
            await note_move(connection, lease, move)
        if terms is not None:
            await connection.execute(
                PLAN_TERMS,
                lease.id,
                json.dumps(dict(terms.policy)),
                json.dumps(dict(terms.budget)),
                terms.signature,
                terms.recipe,
                json.dumps(dict(terms.learning)),
                terms.budget.get("time_s"),
            )
        if not steps:
            await connection.execute(SETTLE, list(done))
            return True
        await connection.execute(
            PLAN_STEPS,
            [s.id for s in steps],
            [s.name for s in steps],
            [s.type for s in steps],
            [s.params for s in steps],
            [s.bindings for s in steps],
            lease.id,
            [s.id for s in waiting],
        )
        await connection.executemany(PLAN_WAIT, [(s.id, list(s.needs)) for s in waiting])
    return True


async def bind_params(connection: asyncpg.Connection, leases: Sequence[Lease]) -> list[tuple[str, str | None]]:
    """The params (JSON text) of leases whose steps take outputs of earlier steps, in order; one query for all.

    PostgreSQL puts them together: a number that Python refuses to read is no reason not to hand it on. Beside them
    stand the fields that earlier steps' results lack (the plan's types were wrong); None: nothing is missing.
    """
    rows = await connection.fetch(BIND, [lease.params for lease in leases], [lease.bindings for lease in leases])
    return [(row["params"], row["missing"]) for row in rows]
