"""The graph over Bolt: applies what is to be written, and reads. Cypher that Neo4j 5 and the embedded server both run.

Values are passed as parameters only; labels and types of edges are of fixed lists. Every node has the label `Entity`
besides its own: one constraint on it makes ids unique, and its index finds every node.
"""

import asyncio
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, cast

from seedcore.errors import DeadlineError, SeedCoreError
from seedcore.graph.graph_write import EDGES, ENTITY, LABELS, EdgeRow, GraphWrite, NodeRow
from seedcore.settings import Settings
from seedcore.stores.neo4j import bolt_address, graph_database, graph_driver, graph_error

if TYPE_CHECKING:
    from neo4j import AsyncDriver, AsyncManagedTransaction

CONNECT_S = 60.0
"""Seconds that the first connection may take, with the start of an embedded server."""

READ_S, WRITE_S = 10.0, 30.0
"""Seconds that one read and one transaction of writes may take."""

WHOLE_S = 300.0
"""Seconds that reading all nodes, or all edges, may take."""

MARK = "mark:sync"
SEMANTIC_ERROR = "Neo.ClientError.Statement.SemanticError"

Record = dict[str, Any]
"""A row of a result, by name."""

_UPDATE = f"""
UNWIND $rows AS row MATCH (n:{ENTITY} {{id: row.id}}) WHERE coalesce(n.seq, 0) < row.seq
SET n += row.properties, n.seq = row.seq
"""
_EXISTING = f"UNWIND $ids AS id MATCH (n:{ENTITY} {{id: id}}) RETURN n.id AS id"
_REMOVE = f"UNWIND $ids AS id MATCH (n:{ENTITY} {{id: id}}) DETACH DELETE n"


def _create(label: str) -> str:
    return f"UNWIND $rows AS row CREATE (n:{ENTITY}:{label} {{id: row.id, seq: row.seq}}) SET n += row.properties"


def _merge(type_: str) -> str:
    return f"""
UNWIND $rows AS row MATCH (a:{ENTITY} {{id: row.source}}) MATCH (b:{ENTITY} {{id: row.target}})
MERGE (a)-[r:{type_} {{_key: row.key}}]->(b)
WITH r, row WHERE coalesce(r.seq, -1) < row.seq SET r += row.properties, r.seq = row.seq
"""


def _connect(type_: str) -> str:
    return f"""
UNWIND $rows AS row MATCH (a:{ENTITY} {{id: row.source}}) MATCH (b:{ENTITY} {{id: row.target}})
CREATE (a)-[r:{type_} {{_key: row.key, seq: row.seq}}]->(b) SET r += row.properties
"""


def _cut(type_: str) -> str:
    return f"""
UNWIND $rows AS row MATCH (a:{ENTITY} {{id: row.source}})-[r:{type_}]->(b:{ENTITY})
WHERE r.seq < row.seq AND NOT r._key IN row.keep DELETE r
"""


class GraphStore:
    """Reads and writes the graph. Connects on first use; for use from one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = graph_database(settings)
        self._driver: AsyncDriver | None = None
        self._uri = ""
        self._connecting = asyncio.Lock()

    async def read(self, statement: str, timeout_s: float = READ_S, **parameters: object) -> list[Record]:
        """The rows of a statement that changes nothing.

        Raises:
            UnavailableError: the server does not answer, or refuses (NotConfiguredError).
            DeadlineError: it took longer than `timeout_s` seconds.
        """

        async def work(transaction: "AsyncManagedTransaction") -> list[Record]:
            return await _rows(transaction, statement, parameters)

        return cast("list[Record]", await self._run(work, timeout_s, writes=False))

    async def apply(self, write: GraphWrite) -> None:
        """Write everything in one transaction; what is in the graph with a higher `seq` stays. Doing it again changes
        nothing.

        Raises:
            UnavailableError: as `read`; nothing was written, or everything was and the answer got lost.
            DeadlineError: it took longer than WRITE_S seconds.
        """

        async def work(transaction: "AsyncManagedTransaction") -> None:
            if write.gone:
                await _rows(transaction, _REMOVE, {"ids": sorted(write.gone)})
            fresh = await self._put_nodes(transaction, list(write.nodes.values()))
            for type_, rows in _cuts(write, fresh).items():
                await _rows(transaction, _cut(type_), {"rows": rows})
            new, others = _edges(write, fresh)
            for type_, rows in new.items():
                await _rows(transaction, _connect(type_), {"rows": rows})
            for type_, rows in others.items():
                await _rows(transaction, _merge(type_), {"rows": rows})

        await self._run(work, WRITE_S, writes=True)

    async def _put_nodes(self, transaction: "AsyncManagedTransaction", nodes: Sequence[NodeRow]) -> Set[str]:
        """Create and update; returns the ids of those that are new, which have no edges yet."""
        if not nodes:
            return frozenset()
        found = await _rows(transaction, _EXISTING, {"ids": [node.id for node in nodes]})
        known = {row["id"] for row in found}
        fresh: dict[str, list[Record]] = {}
        changed: list[Record] = []
        for node in nodes:
            row: Record = {"id": node.id, "seq": node.seq, "properties": node.properties}
            if node.id not in known:
                fresh.setdefault(_checked(node.label, LABELS), []).append(row)
            elif node.seq:
                changed.append(row)
        for label, rows in fresh.items():
            await _rows(transaction, _create(label), {"rows": rows})
        if changed:
            await _rows(transaction, _UPDATE, {"rows": changed})
        return {node.id for node in nodes} - known

    async def nodes(self, limit: int) -> list[Record]:
        """Nodes, at most `limit`: `{id, label, tenant}`."""
        rows = await self.read(
            f"MATCH (n:{ENTITY}) RETURN n.id AS id, labels(n) AS labels, n.tenant AS tenant LIMIT $limit",
            WHOLE_S,
            limit=limit,
        )
        return [
            {"id": row["id"], "label": label_of(row["labels"]), "tenant": row["tenant"]}
            for row in rows
            if row["id"] != MARK
        ]

    async def edges(self, limit: int) -> list[tuple[str, str]]:
        """Edges as (source, target), at most `limit`."""
        rows = await self.read(
            f"MATCH (a:{ENTITY})-->(b:{ENTITY}) RETURN a.id AS a, b.id AS b LIMIT $limit", WHOLE_S, limit=limit
        )
        return [(row["a"], row["b"]) for row in rows]

    async def close(self) -> None:
        """Close the connections."""
        driver, self._driver = self._driver, None
        if driver is not None:
            await driver.close()

    async def _run(self, work: Any, timeout_s: float, *, writes: bool) -> object:
        """One transaction; lost connections and races in the server's schema are retried once."""
        from neo4j.exceptions import ClientError, DriverError, Neo4jError, ServiceUnavailable, SessionExpired

        for last in (False, True):
            driver = await self._connected()
            try:
                async with asyncio.timeout(timeout_s), driver.session(database=self._database) as session:
                    execute = session.execute_write if writes else session.execute_read
                    return await execute(work)
            except TimeoutError:
                raise DeadlineError(f"The Bolt server did not answer within {timeout_s:g} s.") from None
            except (ServiceUnavailable, SessionExpired) as error:
                # The driver has retried already; only an embedded server can be restarted.
                if last or self._settings.neo4j_uri is not None:
                    raise graph_error(error) from error
                await self._restart_server()
            except (DriverError, Neo4jError) as error:
                # The embedded server fails a statement with a label or type that another one is just creating.
                if last or not (isinstance(error, ClientError) and error.code == SEMANTIC_ERROR):
                    raise graph_error(error) from error
        raise AssertionError("the loop returns or raises")

    async def _restart_server(self) -> None:
        """Restart the embedded server if it died; reconnect if its port changed."""
        uri, _ = await asyncio.to_thread(bolt_address, self._settings)
        if uri != self._uri:
            await self.close()

    async def _connected(self) -> "AsyncDriver":
        async with self._connecting:
            if self._driver is None:
                try:
                    async with asyncio.timeout(CONNECT_S):
                        self._driver = await self._connect()
                except TimeoutError:
                    raise DeadlineError(f"The Bolt server did not start or answer within {CONNECT_S:g} s.") from None
            return self._driver

    async def _connect(self) -> "AsyncDriver":
        self._uri, _ = await asyncio.to_thread(bolt_address, self._settings)
        driver = await asyncio.to_thread(graph_driver, self._settings)
        try:
            await self._constrain(driver)
        except BaseException as error:
            await driver.close()
            raise (error if isinstance(error, SeedCoreError) else _translated(error)) from error
        return driver

    async def _constrain(self, driver: "AsyncDriver") -> None:
        """Create what makes ids and edges unique, whoever writes at the same moment."""
        statements = [f"CREATE CONSTRAINT entity_id IF NOT EXISTS FOR (n:{ENTITY}) REQUIRE n.id IS UNIQUE"]
        statements += [
            f"CREATE CONSTRAINT edge_{name} IF NOT EXISTS FOR ()-[r:{name}]-() REQUIRE r._key IS UNIQUE"
            for name in EDGES
        ]
        for statement in statements:
            await driver.execute_query(statement, database_=self._database)


def label_of(labels: Sequence[str]) -> str:
    """A node's own label."""
    return next((name for name in sorted(labels) if name != ENTITY), ENTITY)


def _translated(error: BaseException) -> BaseException:
    from neo4j.exceptions import DriverError, Neo4jError

    return graph_error(error) if isinstance(error, DriverError | Neo4jError) else error


async def _rows(
    transaction: "AsyncManagedTransaction", statement: str, parameters: Mapping[str, object]
) -> list[Record]:
    # The parts of the statement that are not parameters are of fixed lists.
    result = await transaction.run(statement, dict(parameters))
    return await result.data()


def _cuts(write: GraphWrite, fresh: Set[str]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for (type_, source), seq in write.cut.items():
        if source not in fresh:
            keep = [edge.id for edge in write.edges[type_, source].values()]
            found.setdefault(_checked(type_, EDGES), []).append({"source": source, "seq": seq, "keep": keep})
    return found


def _edges(write: GraphWrite, fresh: Set[str]) -> tuple[dict[str, list[Record]], dict[str, list[Record]]]:
    """The edges by type: of nodes that are new, and the others."""
    new: dict[str, list[Record]] = {}
    others: dict[str, list[Record]] = {}
    for (type_, source), edges in write.edges.items():
        if edges:
            found = new if source in fresh else others
            found.setdefault(_checked(type_, EDGES), []).extend(map(_edge, edges.values()))
    return new, others


def _edge(edge: EdgeRow) -> Record:
    return {
        "source": edge.source,
        "target": edge.target,
        "key": edge.id,
        "seq": edge.seq,
        "properties": edge.properties,
    }


def _checked(name: str, allowed: Sequence[str]) -> str:
    if name not in allowed:
        raise ValueError(f"{name!r} is not one of {', '.join(allowed)}")
    return name
