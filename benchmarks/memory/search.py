"""`python -m benchmarks.memory search [--items 100000]`: time and recall of hybrid search.

Memories are sentences of the documentation, put together at random; one in a hundred belongs to a small scope. The
questions are the labelled ones. Recall@10 is the share of the first ten of an exact search that a search
finds: of its half by meaning, of both together, and of both within the small scope.
"""

import argparse
import asyncio
import json
import random
import re
import sys
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.memory.labelled_queries import read_queries, read_sections
from benchmarks.memory.scratch_store import scratch_store
from seedcore.memory.long_term import memory_statements as statements
from seedcore.memory.long_term import store as store_module
from seedcore.memory.long_term.items import NewMemory, digest_of
from seedcore.memory.long_term.store import MemoryStore
from seedcore.memory.long_term.vector_text import vector_text
from seedcore.stores.postgres import Database

SMALL = "domain:small"
BATCH = 1_000


def texts(count: int) -> list[str]:
    pick = random.Random(17)
    sentences = [
        sentence.strip()
        for section in read_sections()
        for sentence in re.split(r"(?<=[.:])\s+", section.text)
        if 30 <= len(sentence) <= 300
    ]
    found = {}
    while len(found) < count:
        text = f"{pick.choice(sentences)} {pick.choice(sentences)} Case {pick.randrange(10**6)}."
        found[text] = None
    return list(found)


async def fill(store: MemoryStore, database: Database, items: Sequence[str]) -> None:
    """Store the items as `remember` does, in batches; the index of vectors is built after them."""
    embedder = store._embedder
    assert embedder is not None
    async with database.connection() as connection:
        index = f"seedcore.memory_vectors_{embedder.dimension}"
        definition = await connection.fetchval("select pg_get_indexdef($1::text::regclass)", index)
        await connection.execute(f"drop index {index}")
    for start in range(0, len(items), BATCH):
        if start % 10_000 == 0:
            print(f"{start} stored", file=sys.stderr, flush=True)
        batch = items[start : start + BATCH]
        vectors = await embedder.embed(batch)
        rows = [
            {
                "n": n, "tenant": "default", "scope": SMALL if (start + n) % 100 == 0 else "all", "source": "api",
                "hash": digest_of(text).hex(), "text": text, "tags": [], "metadata": {}, "salience": 0.5,
            }
            for n, text in enumerate(batch)
        ]  # fmt: skip
        async with database.connection() as connection:
            await connection.execute(
                *(statements.REMEMBER_WITH_VECTORS, json.dumps(rows), embedder.name, embedder.dimension),
                [vector_text(vector) for vector in vectors],
            )
    print("building the index", file=sys.stderr, flush=True)
    async with database.connection() as connection:
        await connection.execute("set maintenance_work_mem = '512MB'; set max_parallel_maintenance_workers = 2")
        await connection.execute(definition, timeout=3600)
        await connection.execute("vacuum analyze seedcore.memories", timeout=3600)
        await connection.execute("vacuum analyze seedcore.memory_vectors", timeout=3600)


async def exact(store: MemoryStore, database: Database, query: str, scopes: list[str] | None) -> list[str]:
    """Ids that the same statement finds without the index of vectors."""
    embedder = store._embedder
    assert embedder is not None
    [vector] = await embedder.embed([query])
    async with database.transaction() as connection:
        await connection.execute(statements.SEARCH_SESSION + "set local enable_indexscan = off")
        rows = await connection.fetch(
            *(statements.search_statement(embedder.dimension), "default", query, scopes, [], store_module.HALF, 10),
            *(embedder.name, vector_text(vector)),
        )
    return [str(row["id"]) for row in rows]


async def nearest(store: MemoryStore, database: Database, query: str, *, index: bool) -> list[str]:
    """The half of a search that goes by meaning."""
    embedder = store._embedder
    assert embedder is not None
    [vector] = await embedder.embed([query])
    near = statements._near("near", embedder.dimension, 7)
    for number, value in {6: "10", 5: "10", 2: "''"}.items():
        near = near.replace(f"${number}", value)
    async with database.transaction() as connection:
        await connection.execute(statements.SEARCH_SESSION + statements.VECTOR_SESSION.format(ef=100))
        if not index:
            await connection.execute("set local enable_indexscan = off")
        near = near.replace("$1", "'default'").replace("$3", "null").replace("$4", "'{}'")
        near = near.replace("$7", f"'{embedder.name}'").replace("$8", f"'{vector_text(vector)}'")
        rows = await connection.fetch(f"with {near} select id from near order by rank limit 10")
    return [str(row["id"]) for row in rows]


def overlap(found: Sequence[str], wanted: Sequence[str]) -> float:
    return len(set(found) & set(wanted)) / max(len(wanted), 1)


async def run(count: int, queries: int) -> dict[str, float]:
    asked = [query.query for query in read_queries()][:queries]
    async with scratch_store() as (store, database):
        began = time.perf_counter()
        await fill(store, database, texts(count))
        filled = time.perf_counter() - began
        for query in asked:
            await store.search(query)
        times: list[float] = []
        recall: dict[str, list[float]] = {"meaning": [], "hybrid": [], "small scope": []}
        for query in asked:
            began = time.perf_counter()
            found = [str(memory.id) for memory in await store.search(query)]
            times.append((time.perf_counter() - began) * 1000)
            recall["hybrid"].append(overlap(found, await exact(store, database, query, None)))
            near = await nearest(store, database, query, index=True)
            recall["meaning"].append(overlap(near, await nearest(store, database, query, index=False)))
            small = [str(memory.id) for memory in await store.search(query, scopes=[SMALL])]
            recall["small scope"].append(overlap(small, await exact(store, database, query, [SMALL])))
        began = time.perf_counter()
        for n in range(100):
            await store.remember([NewMemory(f"a new memory, number {n}")])
        remembering = (time.perf_counter() - began) * 10
    return {
        "items": count,
        "fill_s": round(filled, 1),
        "p50_ms": round(float(np.percentile(times, 50)), 2),
        "p95_ms": round(float(np.percentile(times, 95)), 2),
        "remember_ms": round(remembering, 2),
        **{f"recall@10 {name}": round(float(np.mean(values)), 4) for name, values in recall.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    options = parser.parse_args()
    print(json.dumps(asyncio.run(run(options.items, options.queries)), indent=1))
