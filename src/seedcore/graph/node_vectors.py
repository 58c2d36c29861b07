"""Vectors of all nodes: reads the graph, computes FastRP, and writes to PostgreSQL what pgvector compares."""

import asyncio
from collections.abc import Callable

import asyncpg
import numpy as np

from seedcore.errors import NotConfiguredError, TooLargeError
from seedcore.graph.fastrp import Vectors, fastrp
from seedcore.graph.repository import GraphStore, Record
from seedcore.memory.long_term.vector_text import vector_text
from seedcore.stores.postgres import Database

MODEL = "fastrp"
MAX_NODES, MAX_EDGES = 200_000, 2_000_000
CHUNK = 2000

_HAS_TABLE = "select to_regclass('seedcore.graph_vectors') is not null"
# Primary key graph_vectors (node).
_WRITE = """
insert into seedcore.graph_vectors as v (node, label, tenant, model, dimension, vector, at)
select node, label, tenant, $4, $5, vector::public.vector, $7
from unnest($1::text[], $2::text[], $3::text[], $6::text[]) as t(node, label, tenant, vector)
on conflict (node) do update set label = excluded.label, tenant = excluded.tenant, model = excluded.model,
  dimension = excluded.dimension, vector = excluded.vector, at = excluded.at
"""
_FORGET = "delete from seedcore.graph_vectors where at < $1"


async def embed_nodes(
    store: GraphStore, database: Database, dimension: int, report: Callable[[int, int], None]
) -> tuple[int, int]:
    """Give every node a vector of its place in the graph; returns how many nodes and edges there are.

    Doing it again gives the same vectors while the graph is the same. Vectors of nodes that have gone go.

    Args:
        store: the graph.
        database: where vectors are.
        dimension: of the vectors.
        report: how many nodes are written, and of how many.

    Raises:
        NotConfiguredError: PostgreSQL has no pgvector.
        TooLargeError: there are more than MAX_NODES nodes or MAX_EDGES edges.
        UnavailableError: a server does not answer.
    """
    async with database.connection() as connection:
        if not await connection.fetchval(_HAS_TABLE):
            raise NotConfiguredError("PostgreSQL has no pgvector 0.8 or newer, so nodes can have no vectors.")
        now = await connection.fetchval("select clock_timestamp()")
    nodes, edges = await _read(store)
    place = {node["id"]: n for n, node in enumerate(nodes)}
    known = [(place[a], place[b]) for a, b in edges if a in place and b in place]
    ends = np.array(known, dtype=np.int64).reshape(-1, 2)
    ids = [node["id"] for node in nodes]
    vectors = await asyncio.to_thread(fastrp, ids, ends[:, 0], ends[:, 1], dimension)
    for first in range(0, len(nodes), CHUNK):
        part = nodes[first : first + CHUNK]
        texts = await asyncio.to_thread(_texts, vectors[first : first + CHUNK])
        async with database.connection() as connection:
            await _write(connection, part, dimension, texts, now)
        report(min(first + CHUNK, len(nodes)), len(nodes))
    async with database.connection() as connection:
        await connection.execute(_FORGET, now)
    return len(nodes), len(known)


async def _read(store: GraphStore) -> tuple[list[Record], list[tuple[str, str]]]:
    nodes = await store.nodes(MAX_NODES + 2)
    edges = await store.edges(MAX_EDGES + 1)
    if len(nodes) > MAX_NODES or len(edges) > MAX_EDGES:
        raise TooLargeError(f"The graph has more than {MAX_NODES} nodes or {MAX_EDGES} edges.", limit=MAX_NODES)
    return nodes, edges


async def _write(
    connection: asyncpg.Connection, nodes: list[Record], dimension: int, vectors: list[str], now: object
) -> None:
    columns = [[node[name] for node in nodes] for name in ("id", "label", "tenant")]
    await connection.execute(_WRITE, *columns, MODEL, dimension, vectors, now)


def _texts(vectors: Vectors) -> list[str]:
    """Each as pgvector reads it."""
    return [vector_text(vector) for vector in vectors]
