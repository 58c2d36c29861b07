"""The knowledge graph: nodes and edges with an id of their own, over Bolt.

Values travel as parameters only. Labels and types cannot, so they must fit a strict pattern. Every node carries
the label `Entity` beside its own: one constraint on it makes ids unique, and one index finds every node.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seedcore.errors import ConflictError, NotFoundError
from seedcore.graph.values import check_id, check_name, checked_properties, invalid
from seedcore.settings import Settings
from seedcore.stores.neo4j import bolt_address, graph_database, graph_driver, graph_error

if TYPE_CHECKING:
    from neo4j import AsyncDriver, AsyncManagedTransaction

ENTITY = "Entity"
MAX_DEPTH = 3
MAX_NEIGHBOURS = 1000
ATTEMPTS = 4
SEMANTIC_ERROR = "Neo.ClientError.Statement.SemanticError"


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the graph."""

    id: str
    label: str
    properties: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A node, and how many edges it is away."""

    node: Node
    depth: int


class GraphStore:
    """Reads and writes the graph. It connects on first use, and belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = graph_database(settings)
        self._driver: AsyncDriver | None = None
        self._uri = ""
        self._connecting = asyncio.Lock()
        self._unique_edges: set[str] = set()

    async def merge_node(self, label: str, id: str, properties: Mapping[str, Any] | None = None) -> Node:  # noqa: A002
        """Create the node, or set these properties of the one with that id; None removes a property.

        Raises:
            ConflictError: a node with that id has another label.
        """
        check_name("label", label)
        if label == ENTITY:
            raise invalid("label", f"{ENTITY} is the label of every node; name a more specific one")
        values = checked_properties(properties)
        check_id("id", id)
        node = await self._update(id, label, values)
        if node is None and not await self._create(id, label, values):
            # Somebody created it in between, so now there is one to update.
            node = await self._update(id, label, values)
        return node or Node(id, label, {key: value for key, value in values.items() if value is not None})

    async def merge_edge(
        self, source: str, type: str, target: str, properties: Mapping[str, Any] | None = None  # noqa: A002
    ) -> None:  # fmt: skip
        """Create the edge of that type between two nodes, or set these properties of the one that is there.

        Raises:
            NotFoundError: one of the nodes does not exist.
        """
        check_name("type", type)
        check_id("source", source)
        check_id("target", target)
        await self._make_unique_edges(type)
        statement = (
            f"MATCH (a:{ENTITY} {{id: $source}}) MATCH (b:{ENTITY} {{id: $target}}) "
            f"MERGE (a)-[r:{type} {{_key: $key}}]->(b) SET r += $values RETURN 1 AS done"
        )
        parameters = {
            "source": source,
            "target": target,
            "key": json.dumps([source, target]),
            "values": checked_properties(properties),
        }
        from neo4j.exceptions import ConstraintError

        try:
            rows = await self._run(statement, **parameters)
        except ConstraintError:
            # Somebody made it in between, so now there is one to set.
            rows = await self._run(statement, **parameters)
        if not rows:
            raise NotFoundError(f"There is no edge between nodes that do not exist: {source!r}, {target!r}.")

    async def get_node(self, id: str) -> Node | None:  # noqa: A002
        """The node with that id."""
        check_id("id", id)
        rows = await self._run(
            f"MATCH (n:{ENTITY} {{id: $id}}) RETURN labels(n) AS labels, properties(n) AS properties", id=id
        )
        return _node(id, rows[0]) if rows else None

    async def neighbours(self, id: str, depth: int = 1, limit: int = 50) -> list[Neighbour]:  # noqa: A002
        """The nodes at most `depth` edges away, whatever their direction, the nearest first.

        It goes outwards level by level instead of matching paths: the number of paths explodes, that of nodes does not.

        Raises:
            NotFoundError: there is no node with that id.
        """
        if not 1 <= depth <= MAX_DEPTH:
            raise invalid("depth", f"must be from 1 to {MAX_DEPTH}")
        if not 1 <= limit <= MAX_NEIGHBOURS:
            raise invalid("limit", f"must be from 1 to {MAX_NEIGHBOURS}")
        if await self.get_node(id) is None:
            raise NotFoundError(f"There is no node {id!r} in the graph.")
        found: list[Neighbour] = []
        frontier = [id]
        for level in range(1, depth + 1):
            rows = await self._run(
                f"UNWIND $frontier AS origin MATCH (:{ENTITY} {{id: origin}})--(b:{ENTITY}) WHERE NOT b.id IN $seen "
                "WITH DISTINCT b RETURN b.id AS id, labels(b) AS labels, properties(b) AS properties "
                "ORDER BY id LIMIT $room",
                frontier=frontier,
                seen=[id, *(n.node.id for n in found)],
                room=limit - len(found),
            )
            found += [Neighbour(_node(row["id"], row), level) for row in rows]
            frontier = [row["id"] for row in rows]
            if not frontier or len(found) >= limit:
                break
        return found

    async def ready(self) -> dict[str, Any]:
        """`{ready}` or `{ready, reason}`, for health. It starts no embedded server that nobody has used yet."""
        if self._driver is None and self._settings.neo4j_uri is None:
            return {"ready": True, "note": "not used yet"}
        try:
            await self._run("RETURN 1 AS one")
        except Exception as error:  # noqa: BLE001 - health shows whatever it is
            return {"ready": False, "reason": str(error)}
        return {"ready": True}

    async def close(self) -> None:
        """Close the connections."""
        if self._driver is not None:
            await self._driver.close()
            self._driver = None

    async def _update(self, id: str, label: str, values: dict[str, Any]) -> Node | None:  # noqa: A002
        rows = await self._run(
            f"MATCH (n:{ENTITY} {{id: $id}}) WHERE $label IN labels(n) SET n += $values "
            "RETURN labels(n) AS labels, properties(n) AS properties",
            id=id,
            label=label,
            values=values,
        )
        if rows:
            return _node(id, rows[0])
        other = await self.get_node(id)
        if other is not None and other.label != label:
            raise ConflictError(f"The node {id!r} is a {other.label}, so it cannot be a {label}.")
        return None

    async def _create(self, id: str, label: str, values: dict[str, Any]) -> bool:  # noqa: A002
        from neo4j.exceptions import ConstraintError

        try:
            await self._run(f"CREATE (n:{ENTITY}:{label} {{id: $id}}) SET n += $values", id=id, values=values)
        except ConstraintError:
            return False
        return True

    async def _make_unique_edges(self, type: str) -> None:  # noqa: A002
        """Two writers that merge the same edge at once would both create it; a constraint on its key lets one."""
        if type not in self._unique_edges:
            await self._run(
                f"CREATE CONSTRAINT edge_{type} IF NOT EXISTS FOR ()-[r:{type}]-() REQUIRE r._key IS UNIQUE"
            )
            self._unique_edges.add(type)

    async def _run(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        """Run one statement; a lost connection and a race in the server's schema are tried again.

        Raises:
            UnavailableError: the server does not do it. Violated constraints come as the driver's own error.
        """
        from neo4j.exceptions import (
            ClientError,
            ConstraintError,
            DriverError,
            Neo4jError,
            ServiceUnavailable,
            SessionExpired,
        )

        for attempt in range(ATTEMPTS):
            last = attempt == ATTEMPTS - 1
            try:
                return await self._run_once(statement, parameters)
            except ConstraintError:
                raise
            except (ServiceUnavailable, SessionExpired) as error:
                # The driver has tried again by itself already; only an embedded server can be brought back.
                if last or self._settings.neo4j_uri is not None:
                    raise graph_error(error) from error
                await self._follow_server()
            except (DriverError, Neo4jError) as error:
                # The embedded server fails a statement that meets a label or type which another one is just making.
                if last or not (isinstance(error, ClientError) and error.code == SEMANTIC_ERROR):
                    raise graph_error(error) from error
                await asyncio.sleep(0.05 * (attempt + 1))
        raise AssertionError("the loop returns or raises")

    async def _run_once(self, statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        async def work(transaction: "AsyncManagedTransaction") -> list[dict[str, Any]]:
            # The parts of the statement that are not parameters have been checked by check_name.
            result = await transaction.run(statement, parameters)
            return await result.data()

        driver = await self._connected()
        async with driver.session(database=self._database) as session:
            return await session.execute_write(work)

    async def _follow_server(self) -> None:
        """Bring the embedded server back when it died; connect anew when it came back on another port."""
        uri, _ = await asyncio.to_thread(bolt_address, self._settings)
        if uri != self._uri:
            await self.close()

    async def _connected(self) -> "AsyncDriver":
        async with self._connecting:
            if self._driver is None:
                self._uri, _ = await asyncio.to_thread(bolt_address, self._settings)
                driver = await asyncio.to_thread(graph_driver, self._settings)
                try:
                    await driver.execute_query(
                        f"CREATE CONSTRAINT entity_id IF NOT EXISTS FOR (n:{ENTITY}) REQUIRE n.id IS UNIQUE",
                        database_=self._database,
                    )
                except BaseException:
                    await driver.close()
                    raise
                self._driver = driver
            return self._driver


def _node(id: str, row: Mapping[str, Any]) -> Node:  # noqa: A002
    label = next(name for name in sorted(row["labels"]) if name != ENTITY)
    return Node(id, label, {key: value for key, value in row["properties"].items() if key != "id"})
