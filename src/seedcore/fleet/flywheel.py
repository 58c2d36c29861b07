"""The flywheel: adapts V to measured failures, within bounds; every change is logged and can be undone.

V is the price of a failure. In drift-plus-penalty the price that keeps an average within a budget rises while the
average is over it and falls while it is under (the dual variable of that constraint: Neely, 2010). So does V here, by
at most MAX_STEP per turn, and never beyond MIN_FACTOR or MAX_FACTOR times the setting.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict
from uuid import UUID

import asyncpg
from pydantic import JsonValue

from seedcore.stores.leading import leadership
from seedcore.stores.postgres import loads

MAX_STEP = 0.1
"""The most that one turn changes V by, as a share of V."""

GAIN = 0.05
"""Share of V that it changes by when failures exceed the budget by the budget itself."""

MIN_FACTOR, MAX_FACTOR = 0.25, 16.0
MIN_OUTCOMES = 100
"""Outcomes that a turn requires."""

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
class FlywheelTurn:
    """V after a turn, and the reason."""

    v: float
    reason: str


class WeightChange(TypedDict):
    """A logged change of V: its new value, the one before, and why; `undoes` is the id of an undone change."""

    id: int
    at: datetime
    v: float
    before: float
    reason: str
    evidence: JsonValue
    undoes: int | None


def next_turn(v: float, setting: float, budget: float, outcomes: int, failures: int) -> FlywheelTurn:
    """V after a turn.

    Args:
        v: V before the turn.
        setting: V without a flywheel; the bounds are multiples of it.
        budget: accepted share of failures, above 0.
        outcomes: measured since the last turn.
        failures: among the outcomes.
    """
    if outcomes < MIN_OUTCOMES:
        return FlywheelTurn(v, f"{outcomes} outcomes are too few to learn from: {MIN_OUTCOMES} are needed")
    share = failures / outcomes
    step = min(MAX_STEP, max(-MAX_STEP, GAIN * (share - budget) / budget))
    after = min(MAX_FACTOR * setting, max(MIN_FACTOR * setting, v * (1.0 + step)))
    reason = f"{share:.2%} of {outcomes} outcomes failed, the budget is {budget:.2%}"
    if after == v and step:
        reason += "; V is at its bound"
    return FlywheelTurn(after, reason)


async def lock(connection: asyncpg.Connection) -> None:
    """Allow one turn at a time, until the transaction ends."""
    await connection.execute(_LOCK)


async def claim_turn(connection: asyncpg.Connection, owner: UUID, period_s: float) -> bool:
    """Claim the turn of this period; False: it is not due, or another replica has it."""
    return await leadership.begin_period(connection, "flywheel", owner, period_s)


async def last(connection: asyncpg.Connection, limit: int) -> list[WeightChange]:
    """The last changes, the newest first; the `v` of the newest is in force."""
    return [_change(row) for row in await connection.fetch(_LAST, limit)]


async def get(connection: asyncpg.Connection, change: int) -> WeightChange | None:
    """One change."""
    row = await connection.fetchrow(_GET, change)
    return None if row is None else _change(row)


async def add(
    connection: asyncpg.Connection,
    turn: FlywheelTurn,
    before: float,
    evidence: Mapping[str, JsonValue],
    undoes: int | None = None,
) -> WeightChange:
    """Log a change, which is in force from then on."""
    row = await connection.fetchrow(_ADD, turn.v, before, turn.reason, json.dumps(evidence), undoes)
    return _change(row)


def _change(row: asyncpg.Record) -> WeightChange:
    return WeightChange(
        id=row["id"],
        at=row["at"],
        v=row["v"],
        before=row["before"],
        reason=row["reason"],
        evidence=loads(row["evidence"]),
        undoes=row["undoes"],
    )
