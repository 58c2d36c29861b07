"""Answers questions of the catalogue, walks the graph level by level, and finds nodes of a like place in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg

from seedcore.errors import NotConfiguredError, NotFoundError
from seedcore.graph.changes import node_id
from seedcore.graph.query_catalogue import CATALOGUE, EDGES_AMONG, EXISTS, NEIGHBOURS, NODES
from seedcore.graph.repository import GraphStore, Record, label_of
from seedcore.memory.long_term.items import FoundMemory
from seedcore.stores.postgres import Database
from seedcore.tasks.sql.reads import is_skill

MAX_DEPTH = 3
MAX_EDGES = 1000
INNER = frozenset({"id", "seq", "_key", "tenant"})
"""Properties that no answer shows."""

# A scan: for the tens of thousands of nodes that a graph has, it takes milliseconds, and finds all. Tasks of a type
# that no skill has make nodes, too; such a type is a tenant's own word.
_SIMILAR = f"""
select o.node, o.label, 1 - (o.vector <=> n.vector) as similarity
from seedcore.graph_vectors n
join seedcore.graph_vectors o on o.model = n.model and o.dimension = n.dimension and o.node <> n.node
where n.node = $1 and (n.tenant is null or n.tenant = $2) and (o.tenant is null or o.tenant = $2)
  and (o.label <> 'Skill' or {is_skill("substr(o.node, length('skill:') + 1)")})
order by o.vector <=> n.vector, o.node limit $3
"""  # noqa: S608 - of constants


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A node that was found; `depth` is its distance in edges from where the search began."""

    id: str
    label: str
    depth: int
    properties: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Nodes, the nearest first, and the edges among them as `{source, type, target, …}`."""

    nodes: list[GraphNode] = field(default_factory=list)
    edges: list[Record] = field(default_factory=list)


class GraphReader:
    """Reads the graph for one tenant at a time.

    Args:
        store: the graph.
        database: where vectors of nodes are.
    """

    def __init__(self, store: GraphStore, database: Database) -> None:
        self._store, self._database = store, database

    async def ask(self, name: str, about: str, tenant: str, limit: int) -> dict[str, list[Record]]:
        """The answer to a question of the catalogue, by part; at most `limit` rows each.

        Args:
            name: of the question.
            about: the name or id of what it is about.
            tenant: who asks.
            limit: rows of each part.

        Raises:
            NotFoundError: the graph does not know it, or it is another tenant's.
            UnavailableError: the Bolt server does not answer.
        """
        question = CATALOGUE[name]
        own = node_id(question.kind, about.removeprefix(f"{question.kind}:"))
        await self._check_there(own, tenant)
        return {
            part: await self._store.read(cypher, id=own, tenant=tenant, limit=limit)
            for part, cypher in question.parts.items()
        }

    async def walk(self, origins: Sequence[str], tenant: str, depth: int, limit: int) -> Neighbourhood:
        """The nodes at most `depth` edges away, those of `origins` that are there included, and the edges among them.

        Level by level instead of by paths, because the number of paths grows exponentially.
        """
        rows = await self._store.read(NODES, ids=list(dict.fromkeys(origins))[:limit], tenant=tenant)
        found = [_node(row, 0) for row in rows]
        frontier = [node.id for node in found]
        for level in range(1, depth + 1):
            room = limit - len(found)
            if not frontier or room <= 0:
                break
            seen = [node.id for node in found]
            rows = await self._store.read(NEIGHBOURS, frontier=frontier, seen=seen, tenant=tenant, limit=room)
            found += (reached := [_node(row, level) for row in rows])
            frontier = [node.id for node in reached]
        ids = [node.id for node in found]
        edges = await self._store.read(EDGES_AMONG, ids=ids, tenant=tenant, limit=MAX_EDGES) if ids else []
        return Neighbourhood(found, [_edge(row) for row in edges])

    async def neighbours(self, node: str, tenant: str, depth: int, limit: int) -> Neighbourhood:
        """`walk` from a node.

        Raises:
            NotFoundError: the graph does not know it, or it is another tenant's.
        """
        await self._check_there(node, tenant)
        return await self.walk([node], tenant, depth, limit)

    async def similar(self, node: str, tenant: str, limit: int) -> list[Record]:
        """The nodes whose place in the graph is most like that of `node`: `{node, label, similarity}`.

        Raises:
            NotFoundError: the graph does not know it, or `graph.embed` has not seen it yet.
            NotConfiguredError: PostgreSQL has no pgvector.
        """
        await self._check_there(node, tenant)
        try:
            async with self._database.connection() as connection:
                rows = await connection.fetch(_SIMILAR, node, tenant, limit)
        except asyncpg.UndefinedTableError:
            raise NotConfiguredError("PostgreSQL has no pgvector 0.8 or newer, so nodes have no vectors.") from None
        if not rows:
            raise NotFoundError(f"The node {node!r} has no vector: run graph.embed.")
        return [{**row, "similarity": round(row["similarity"], 4)} for row in map(dict, rows)]

    async def _check_there(self, node: str, tenant: str) -> None:
        if not await self._store.read(EXISTS, id=node, tenant=tenant):
            raise NotFoundError(f"The graph does not know {node!r}.")


def node_of_memory(memory: FoundMemory) -> str | None:
    """The node that a memory comes from; None: none does. Failures of a kind are one memory, of their skill."""
    if memory.source == "failure":
        return node_id("skill", memory.metadata["type"]) if "type" in memory.metadata else None
    kind = {"plan": "plan", "triage": "incident", "fact": "fact"}.get(memory.source)
    if kind is None or not memory.source_id:
        return None
    try:
        return node_id(kind, UUID(memory.source_id))
    except ValueError:
        return None


def _node(row: Record, depth: int) -> GraphNode:
    properties = {key: value for key, value in row["properties"].items() if key not in INNER and value is not None}
    return GraphNode(row["id"], label_of(row["labels"]), depth, properties)


def _edge(row: Record) -> Record:
    about = {key: value for key, value in row["properties"].items() if key not in INNER and value not in (None, "")}
    return {"source": row["source"], "type": row["type"], "target": row["target"], **about}
