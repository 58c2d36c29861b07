"""Retrainings that triages began: the interval and the budget of the policy are held against these records.

They are records of their own, because triages and tasks are deleted by rules that know nothing of either.
"""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from seedcore.stores.advisory_locks import RETRAININGS

DAY_S = 86_400
_KEPT_S = 31 * DAY_S
"""Longer than the longest interval that a policy may name."""

# Index retrainings_name; index retrainings_at.
_RETRAINED = f"""
select extract(epoch from now() - (select max(at) from seedcore.retrainings where name = $1))::float8,
       (select count(*) from seedcore.retrainings where at > now() - interval '{DAY_S} s')
"""  # noqa: S608 - constants
_ADD = "insert into seedcore.retrainings (triage, name, task_id) values ($1, $2, $3)"
_DELETE_EXPIRED = f"delete from seedcore.retrainings where at < now() - interval '{_KEPT_S} s'"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Retrained:
    """What was retrained: how many seconds ago this model (None: not in the last month), and how many models today."""

    ago_s: float | None
    today: int

    def wait_s(self, every_s: float) -> float:
        """Seconds until the model may be retrained again."""
        return 0.0 if self.ago_s is None else max(every_s - self.ago_s, 0.0)


async def retrained(connection: asyncpg.Connection, name: str) -> Retrained:
    """The retrainings that count against the policy now."""
    ago_s, today = await connection.fetchrow(_RETRAINED, name)
    return Retrained(ago_s, today)


async def lock_retrainings(connection: asyncpg.Connection) -> None:
    """Let no other transaction begin a retraining until this one ends."""
    await connection.execute("select pg_advisory_xact_lock($1, 0)", RETRAININGS)


async def add_retraining(connection: asyncpg.Connection, triage: UUID, name: str, task_id: UUID) -> None:
    """Record that a triage began one."""
    await connection.execute(_DELETE_EXPIRED)
    await connection.execute(_ADD, triage, name, task_id)
