"""What the skills of the graph share in a process: connections, and what they ask them for."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from seedcore.graph.graph_reader import GraphReader, Neighbourhood, node_of_memory
from seedcore.graph.graph_sync import wait_until_synced
from seedcore.graph.outbox import GraphState
from seedcore.graph.repository import GraphStore
from seedcore.memory.long_term.items import FoundMemory
from seedcore.memory.long_term.store import MemoryStore
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

FRESH_S = 2.0
"""A question that follows another one within this time does not wait for the sync again."""

SYNC_S = 60.0
"""Seconds that a task waits for the graph to be up to date: the first one starts the embedded server, and fills it."""


@dataclass(frozen=True, slots=True)
class GraphRecall:
    """What memory and the graph know about a text.

    Attributes:
        memories: the seeds, best first.
        around: what the graph has around them.
        scores: of its nodes, in (0, 1]: a seed has its memory's share of the best score, each edge away halves it.
        fallback: what the search had to do without.
    """

    memories: list[FoundMemory]
    around: Neighbourhood
    scores: Mapping[str, float] = field(default_factory=dict)
    fallback: str | None = None


class GraphClient:
    """One a process; made by the first skill that needs it."""

    name: ClassVar[str] = "graph"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.database = Database(settings, size=2, name="seedcore-graph-skills")
        self.store = GraphStore(settings)
        self.reader = GraphReader(self.store, self.database)
        self._state: tuple[float, GraphState] | None = None
        self._asked = 0

    def status(self) -> Mapping[str, object]:
        """How many tasks it served."""
        return {"asked": self._asked}

    async def aclose(self) -> None:
        """Close the connections."""
        await self.store.close()
        await self.database.aclose()

    async def synced(self, *, always: bool = False) -> GraphState:
        """Wait until the graph has what the database had; the first call of all starts the graph.

        Raises:
            UnavailableError: it does not come to that in time; the detail says why.
        """
        self._asked += 1
        now = time.monotonic()
        if always or self._state is None or now - self._state[0] > FRESH_S:
            state = await wait_until_synced(self.database, self._settings, SYNC_S)
            self._state = time.monotonic(), state
        return self._state[1]

    async def recall(
        self, memories: MemoryStore, query: str, tenant: str, k: int, depth: int, limit: int
    ) -> GraphRecall:
        """The memories that fit a text best, and what the graph has around what they come from.

        Raises:
            InvalidInputError: the text cannot be searched.
            UnavailableError: a server does not answer.
        """
        search = await memories.find(query, k, tenant=tenant)
        seeds: dict[str, float] = {}
        best = max((memory.score for memory in search.items), default=1.0)
        for memory in search.items:
            node = node_of_memory(memory)
            if node is not None:
                seeds.setdefault(node, memory.score / best)
        around = await self.reader.walk(list(seeds), tenant, depth, limit) if seeds else Neighbourhood()
        return GraphRecall(search.items, around, _spread(seeds, around), search.fallback)


def _spread(seeds: Mapping[str, float], around: Neighbourhood) -> dict[str, float]:
    """Scores of nodes: the best of their neighbours that are one edge nearer, halved."""
    neighbours: dict[str, set[str]] = {}
    for edge in around.edges:
        neighbours.setdefault(edge["source"], set()).add(edge["target"])
        neighbours.setdefault(edge["target"], set()).add(edge["source"])
    scores: dict[str, float] = {}
    depth = {node.id: node.depth for node in around.nodes}
    for node in around.nodes:
        nearer = [scores[other] for other in neighbours.get(node.id, ()) if depth.get(other, 99) == node.depth - 1]
        scores[node.id] = seeds.get(node.id, max(nearer, default=0.0) / 2)
    return scores
