"""The flywheel: V adapts to measured failures, within bounds; every change is logged and can be undone.

V is the price of a failure. In drift-plus-penalty the price that holds an average under a budget rises while the
average is over it and falls while it is under (the dual variable of that constraint: Neely, 2010). So does V here, by
at most `STEP` a turn, and never beyond `LOWEST` or `HIGHEST` times the setting.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from seedcore.stores import leadership

STEP = 0.1
"""Most that one turn changes V by, as a share of it."""

GAIN = 0.05
"""Share of V that it changes by, for failures of the budget's size over the budget."""

LOWEST, HIGHEST = 0.25, 16.0
ENOUGH = 100
"""Outcomes that a turn needs."""

_COLUMNS = "id, at, v, before, reason, evidence, undoes"
# Primary key.
_LAST = f"select {_COLUMNS} from seedcore.energy_weights order by id desc limit $1"  # noqa: S608 - constants of this file
_GET = f"select {_COLUMNS} from seedcore.energy_weights where id = $1"  # noqa: S608
_ADD = f"""
insert into seedcore.energy_weights (v, before, reason, evidence, undoes) values ($1, $2, $3, $4, $5)
returning {_COLUMNS}
"""  # noqa: S608
_LOCK = "lock table seedcore.energy_weights in share row exclusive mode"


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn makes of V, and why."""

    v: float
    reason: str


def turned(v: float, setting: float, budget: float, outcomes: int, failures: int) -> Turn:
    """V after a turn.

    Args:
        v: as it is.
        setting: what it is without a flywheel; the bounds are multiples of it.
        budget: share of failures that is accepted, over 0.
        outcomes: that were measured since the last turn.
        failures: among them.
    """
    if outcomes < ENOUGH:
        return Turn(v, f"{outcomes} outcomes are too few to learn from: {ENOUGH} are needed")
    share = failures / outcomes
    step = min(STEP, max(-STEP, GAIN * (share - budget) / budget))
    after = min(HIGHEST * setting, max(LOWEST * setting, v * (1.0 + step)))
    reason = f"{share:.2%} of {outcomes} outcomes failed, the budget is {budget:.2%}"
    if after == v and step:
        reason += "; V is at its bound"
    return Turn(after, reason)


async def lock(connection: asyncpg.Connection) -> None:
    """One turn at a time, until the transaction ends."""
    await connection.execute(_LOCK)


async def due(connection: asyncpg.Connection, owner: UUID, period_s: float) -> bool:
    """Whether a turn by itself is due, and this one's to make: one a period, however many ask."""
    return await leadership.begin_period(connection, "flywheel", owner, period_s)


async def last(connection: asyncpg.Connection, limit: int) -> list[dict[str, Any]]:
    """The last changes, the newest first; its `v` is in force."""
    return [_record(row) for row in await connection.fetch(_LAST, limit)]


async def get(connection: asyncpg.Connection, change: int) -> dict[str, Any] | None:
    """One change."""
    row = await connection.fetchrow(_GET, change)
    return None if row is None else _record(row)


async def add(
    connection: asyncpg.Connection, turn: Turn, before: float, evidence: Mapping[str, Any], undoes: int | None = None
) -> dict[str, Any]:
    """Log a change, which is in force from then on."""
    row = await connection.fetchrow(_ADD, turn.v, before, turn.reason, json.dumps(evidence), undoes)
    return _record(row)


def _record(row: Any) -> dict[str, Any]:
    evidence = row["evidence"]
    return {**dict(row), "evidence": json.loads(evidence) if isinstance(evidence, str) else evidence}
