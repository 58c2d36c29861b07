"""The knowledge graph: reads and writes nodes and edges over Bolt.

Values are passed as parameters only. Labels and types cannot be, so they must match a strict pattern. Every node has
the label `Entity` besides its own: one constraint on it makes ids unique, and one index finds every node.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seedcore.errors import ConflictError, InvalidInputError, NotFoundError
from seedcore.graph.values import Properties, check_id, check_name, checked_properties
from seedcore.settings import Settings
from seedcore.stores.neo4j import bolt_address, graph_database, graph_driver, graph_error

if TYPE_CHECKING:
    from neo4j import AsyncDriver, AsyncManagedTransaction

ENTITY = "Entity"
MAX_DEPTH = 3
MAX_NEIGHBOURS = 1000
ATTEMPTS = 4
SEMANTIC_ERROR = "Neo.ClientError.Statement.SemanticError"

Record = dict[str, object]
"""A row of a result, by name."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the graph."""

    id: str
    label: str
    properties: Properties


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A node and its distance in edges."""

    node: Node
    depth: int


class GraphStore:
    """Reads and writes the graph. Connects on first use; for use from one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = graph_database(settings)
        self._driver: AsyncDriver | None = None
        self._uri = ""
        self._connecting = asyncio.Lock()
        self._unique_edges: set[str] = set()

    async def merge_node(self, label: str, id: str, properties: Mapping[str, object] | None = None) -> Node:  # noqa: A002
        """Create the node, or set these properties of the existing one; None removes a property.

        Raises:
            ConflictError: a node with that id has another label.
        """
        check_name("label", label)
        if label == ENTITY:
            raise InvalidInputError.for_field("label", f"{ENTITY} is the label of every node; use a more specific one")
        values = checked_properties(properties)
        check_id("id", id)
        node = await self._update(id, label, values)
        if node is None and not await self._create(id, label, values):
            # Another writer created it in between, so now it can be updated.
            node = await self._update(id, label, values)
        return node or Node(id, label, {key: value for key, value in values.items() if value is not None})

    async def merge_edge(
        self, source: str, type: str, target: str, properties: Mapping[str, object] | None = None  # noqa: A002
    ) -> None:  # fmt: skip
        """Create the edge of that type between two nodes, or set these properties of the existing one.

        Raises:
            NotFoundError: one of the nodes does not exist.
        """
        check_name("type", type)
        check_id("source", source)
        check_id("target", target)
        await self._ensure_unique_edges(type)
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
            # Another writer created it in between, so now it can be updated.
            rows = await self._run(statement, **parameters)
        if not rows:
            raise NotFoundError(f"One of the nodes {source!r} and {target!r} does not exist; create it first.")

    async def get_node(self, id: str) -> Node | None:  # noqa: A002
        """The node with that id."""
        check_id("id", id)
        rows = await self._run(
            f"MATCH (n:{ENTITY} {{id: $id}}) RETURN labels(n) AS labels, properties(n) AS properties", id=id
        )
        return _node(id, rows[0]) if rows else None

    async def neighbours(self, id: str, depth: int = 1, limit: int = 50) -> list[Neighbour]:  # noqa: A002
        """The nodes at most `depth` edges away, in any direction, the nearest first.

        Searches level by level instead of matching paths, because the number of paths grows exponentially.

        Raises:
            NotFoundError: there is no node with that id.
        """
        if not 1 <= depth <= MAX_DEPTH:
            raise InvalidInputError.for_field("depth", f"must be from 1 to {MAX_DEPTH}")
        if not 1 <= limit <= MAX_NEIGHBOURS:
            raise InvalidInputError.for_field("limit", f"must be from 1 to {MAX_NEIGHBOURS}")
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
            frontier = [str(row["id"]) for row in rows]
            found += [Neighbour(_node(id_, row), level) for id_, row in zip(frontier, rows, strict=True)]
            if not frontier or len(found) >= limit:
                break
        return found

    async def ready(self) -> dict[str, object]:
        """`{ready}` or `{ready, reason}`, for health. It does not start an embedded server that is unused so far."""
        if self._driver is None and self._settings.neo4j_uri is None:
            return {"ready": True, "note": "not used yet"}
        try:
            await self._run("RETURN 1 AS one")
        except Exception as error:  # noqa: BLE001 - health reports any failure
            return {"ready": False, "reason": str(error)}
        return {"ready": True}

    async def close(self) -> None:
        """Close the connections."""
        if self._driver is not None:
            await self._driver.close()
            self._driver = None

    async def _update(self, id: str, label: str, values: Properties) -> Node | None:  # noqa: A002
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

    async def _create(self, id: str, label: str, values: Properties) -> bool:  # noqa: A002
        from neo4j.exceptions import ConstraintError

        try:
            await self._run(f"CREATE (n:{ENTITY}:{label} {{id: $id}}) SET n += $values", id=id, values=values)
        except ConstraintError:
            return False
        return True

    async def _ensure_unique_edges(self, type: str) -> None:  # noqa: A002
        """Create the constraint without which two concurrent writers would both create the same edge."""
        if type not in self._unique_edges:
            await self._run(
                f"CREATE CONSTRAINT edge_{type} IF NOT EXISTS FOR ()-[r:{type}]-() REQUIRE r._key IS UNIQUE"
            )
            self._unique_edges.add(type)

    async def _run(self, statement: str, **parameters: object) -> list[Record]:
        """Run one statement; lost connections and races in the server's schema are retried.

        Raises:
            UnavailableError: the server fails. Violated constraints are raised as the driver's own error.
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
                # The driver has retried already; only an embedded server can be restarted.
                if last or self._settings.neo4j_uri is not None:
                    raise graph_error(error) from error
                await self._restart_server()
            except (DriverError, Neo4jError) as error:
                # The embedded server fails a statement with a label or type that another one is just creating.
                if last or not (isinstance(error, ClientError) and error.code == SEMANTIC_ERROR):
                    raise graph_error(error) from error
                await asyncio.sleep(0.05 * (attempt + 1))
        raise AssertionError("the loop returns or raises")

    async def _run_once(self, statement: str, parameters: dict[str, object]) -> list[Record]:
        async def work(transaction: "AsyncManagedTransaction") -> list[Record]:
            # check_name has validated the parts of the statement that are not parameters.
            result = await transaction.run(statement, parameters)
            return await result.data()

        driver = await self._connected()
        async with driver.session(database=self._database) as session:
            return await session.execute_write(work)

    async def _restart_server(self) -> None:
        """Restart the embedded server if it died; reconnect if its port changed."""
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


def _node(id: str, row: Record) -> Node:  # noqa: A002
    labels, properties = row["labels"], row["properties"]
    assert isinstance(labels, list)
    assert isinstance(properties, dict)
    label = next(name for name in sorted(labels) if name != ENTITY)
    return Node(id, label, {key: value for key, value in properties.items() if key != "id"})
