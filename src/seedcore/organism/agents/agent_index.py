"""The index of agents: the stage of each as its host wrote it, and agents that live although no organ has them."""

from collections.abc import Mapping

from seedcore.fleet import agent_reads
from seedcore.fleet.agent_lifecycle import Stage
from seedcore.fleet.agent_reads import CHANGES_PAGE, AgentChange
from seedcore.organism.routing.table_builder import OrganMembers
from seedcore.stores.postgres import Database

MARGIN = 1000
"""Change numbers become visible out of order: so many before the last known one are read again."""


class AgentIndex:
    """Reads agents by their change number, so that only what changed crosses the wire.

    Attributes:
        lifecycle: the stage of each agent that has a row.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seq = 0
        self._versions: dict[str, int] = {}
        self._known: set[str] = set()
        self._unwanted: set[str] = set()
        self._host_of: dict[str, str] = {}
        self.lifecycle: dict[str, str] = {}

    async def refresh(self, members: Mapping[str, tuple[int, OrganMembers]]) -> bool:
        """Read what changed; returns whether the stage of an agent of an organ did.

        Args:
            members: version and agents of every desired organ.
        """
        versions = {organ: version for organ, (version, _) in members.items()}
        if versions != self._versions:
            self._versions = versions
            self._known = {agent for _, own in members.values() for agent in own.ids}
            self._unwanted |= self._host_of.keys() - self._known
        stage_changed = False
        while True:
            async with self._database.connection() as connection:
                rows = await agent_reads.changed_since(connection, max(0, self._seq - MARGIN))
            for row in rows:
                stage_changed |= self._apply(row)
            last = rows[-1].seq if rows else self._seq
            if len(rows) < CHANGES_PAGE or last <= self._seq:
                self._seq = max(self._seq, last)
                return stage_changed
            self._seq = last

    def _apply(self, row: AgentChange) -> bool:
        agent = row.id
        if row.host:
            self._host_of[agent] = row.host
            if agent not in self._known:
                self._unwanted.add(agent)
        else:
            self._host_of.pop(agent, None)
            self._unwanted.discard(agent)
        # An agent without a row counts as a scout: its first row changes nothing.
        if self.lifecycle.get(agent, Stage.SCOUT) == row.lifecycle:
            return False
        self.lifecycle[agent] = row.lifecycle
        return agent in self._known

    async def put_unwanted_to_sleep(self) -> None:
        """Put agents to sleep that no organ has; those that still have work are tried again by the next call."""
        self._unwanted -= self._known
        if self._unwanted:
            async with self._database.connection() as connection:
                await agent_reads.put_to_sleep(connection, sorted(self._unwanted))
