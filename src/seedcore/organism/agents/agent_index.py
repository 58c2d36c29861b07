"""Agents as their hosts wrote them: the lifecycle of each, and those that are not wanted any more."""

from collections.abc import Mapping

from seedcore.organism.desired.repository import OrganStore
from seedcore.organism.routing.routing_table import SCOUT, Members

MARGIN = 1000
"""A batch whose change numbers are not visible yet may be passed by a later one: so many are read again."""

PAGE = 20_000


class Sleepers:
    """Reads agents by their change number, so that only what changed crosses the wire."""

    def __init__(self, store: OrganStore) -> None:
        self._store = store
        self._seq = 0
        self._versions: dict[str, int] = {}
        self._known: set[str] = set()
        self._unwanted: set[str] = set()
        self._lives: dict[str, str] = {}
        self.lifecycle: dict[str, str] = {}

    async def refresh(self, members: Mapping[str, tuple[int, Members]]) -> bool:
        """Read what changed; True when a wanted agent's lifecycle is another one than before.

        Args:
            members: the version and the agents of every wanted organ.
        """
        versions = {organ: version for organ, (version, _) in members.items()}
        if versions != self._versions:
            self._versions = versions
            self._known = {agent for _, own in members.values() for agent in own.ids}
            self._unwanted |= self._lives.keys() - self._known
        changed = False
        while True:
            rows = await self._store.changed_agents(max(0, self._seq - MARGIN))
            for row in rows:
                changed |= self._take(row["id"], row["lifecycle"], row["host"])
            last = rows[-1]["seq"] if rows else self._seq
            if len(rows) < PAGE or last <= self._seq:
                self._seq = max(self._seq, last)
                return changed
            self._seq = last

    def _take(self, agent: str, lifecycle: str, host: str) -> bool:
        if host:
            self._lives[agent] = host
            if agent not in self._known:
                self._unwanted.add(agent)
        else:
            self._lives.pop(agent, None)
            self._unwanted.discard(agent)
        # Who has no row yet counts as a scout: its first row changes nothing.
        if self.lifecycle.get(agent, SCOUT) == lifecycle:
            return False
        self.lifecycle[agent] = lifecycle
        return agent in self._known

    async def put_to_sleep(self) -> None:
        """Agents that no organ wants any more live nowhere; those that still have work are asked again."""
        self._unwanted -= self._known
        if self._unwanted:
            await self._store.put_to_sleep(sorted(self._unwanted))
