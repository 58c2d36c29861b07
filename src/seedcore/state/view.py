"""Agents as the database last told: read by their change number, so that only what changed crosses the wire."""

import time
from dataclasses import dataclass
from typing import Any

from seedcore.energy.rates import RateEstimate
from seedcore.state.schemas import AgentState, OrganState, RateState
from seedcore.stores.postgres import Database, loads

# Index agents_seq. A batch whose numbers are not yet visible may be passed by a later one: read a margin again.
_CHANGED = """
select id, organ, host, running, queued_s, completed, failed, rates, seq,
       extract(epoch from now() - updated)::float8 as age_s
from seedcore.agents where seq > $1 order by seq
"""
MARGIN = 1000


@dataclass(slots=True)
class _Row:
    fields: dict[str, Any]
    written: float
    seq: int


class AgentView:
    """All agents, refreshed from the database in increments."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows: dict[str, _Row] = {}
        self._seq = 0

    async def refresh(self) -> int:
        """Read what changed since the last time; returns how many agents were read."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_CHANGED, max(0, self._seq - MARGIN))
        now = time.monotonic()
        for row in rows:
            known = self._rows.get(row["id"])
            if known is None or known.seq < row["seq"]:
                fields = {name: row[name] for name in ("organ", "host", "running", "queued_s", "completed", "failed")}
                fields["rates"] = _rates(loads(row["rates"]))
                self._rows[row["id"]] = _Row(fields, now - row["age_s"], row["seq"])
            self._seq = max(self._seq, row["seq"])
        return len(rows)

    def agents(self, agent_ids: list[str] | None = None, organ_ids: list[str] | None = None) -> dict[str, AgentState]:
        """The agents asked for, all by default; unknown ids are absent."""
        now = time.monotonic()
        chosen = self._rows if agent_ids is None else {i: self._rows[i] for i in agent_ids if i in self._rows}
        return {
            agent_id: AgentState(**row.fields, age_s=round(now - row.written, 3))
            for agent_id, row in sorted(chosen.items())
            if organ_ids is None or row.fields["organ"] in organ_ids
        }

    def organs(self, organ_ids: list[str] | None = None) -> dict[str, OrganState]:
        """Sums over each organ's agents."""
        organs: dict[str, OrganState] = {}
        for row in self._rows.values():
            name = row.fields["organ"]
            if organ_ids is not None and name not in organ_ids:
                continue
            organ = organs.setdefault(name, OrganState(agents=0, running=0, queued_s=0.0, completed=0, failed=0))
            organ.agents += 1
            organ.running += row.fields["running"]
            organ.queued_s += row.fields["queued_s"]
            organ.completed += row.fields["completed"]
            organ.failed += row.fields["failed"]
        return dict(sorted(organs.items()))


def _rates(stored: dict[str, dict[str, float]]) -> dict[str, RateState]:
    rates = {}
    for name, values in stored.items():
        estimate = RateEstimate(**values)
        rates[name] = RateState(
            mean_s=estimate.mean_seconds(), success=estimate.success(), outcomes=round(estimate.weight, 3)
        )
    return rates
