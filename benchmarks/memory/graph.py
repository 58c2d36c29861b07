"""`python -m benchmarks.memory.graph`: how far the graph is behind at so many changes a second, and how long vectors
take.

PostgreSQL and the Bolt server are embedded ones of its own, or those that SEEDCORE_PG_DSN and NEO4J_URI name. Changes
are made where they come from: agents, plans that begin and end, facts.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from seedcore.graph import outbox
from seedcore.graph.fastrp import fastrp
from seedcore.graph.graph_sync import GraphSync, wait_until_synced
from seedcore.graph.node_vectors import embed_nodes
from seedcore.settings import Settings, load_settings
from seedcore.stores.migrate import migrate
from seedcore.stores.postgres import Database

TICK_S = 0.1
AGENTS = 5000
PLAN = '{"steps": [{"id": "a", "skill": "echo"}, {"id": "b", "skill": "hash"}, {"id": "c", "skill": "http.get"}]}'
_MOVE = """
update seedcore.agents set lifecycle = case lifecycle when 'scout' then 'employed' else 'scout' end
where id = any($1::text[])
"""
_PLAN = """
with made as (
  insert into seedcore.tasks (id, type, params, max_attempts)
  select seedcore.new_id(), 'goal', jsonb_build_object('goal', 'g' || n), 1
  from generate_series(1, $1::int) n returning id)
insert into seedcore.held (id, status, plan) select id, 'waiting', $2::jsonb from made returning id
"""
_END = """
with over as (delete from seedcore.held where id = any($1::uuid[]) returning id)
select count(seedcore.graph_plan_ended(id, true)) from over
"""
_FACTS = """
insert into seedcore.facts (subject, predicate, object, text)
select 'thing ' || (random() * 2000)::int, 'is', 'thing ' || (random() * 2000)::int, 'x'
from generate_series(1, $1::int)
"""


async def change(database: Database, per_s: int, seconds: float) -> int:
    """Make changes at that rate; returns how many. 40% are of agents, 25% new plans, 25% ended plans, 10% facts."""
    draw, made, open_plans = np.random.default_rng(0), 0, []
    began = time.perf_counter()
    each = int(per_s * TICK_S)
    while (now := time.perf_counter() - began) < seconds:
        async with database.transaction() as connection:
            ended, open_plans = open_plans, []
            # A plan that ends is two changes: it is held no longer, and how it ended.
            agents, plans, facts = int(each * 0.4), int(each * 0.2), each - int(each * 0.4) - 3 * int(each * 0.2)
            names = [f"a{n}" for n in draw.choice(AGENTS, agents, replace=False)]
            await connection.execute(_MOVE, names)
            open_plans = [row["id"] for row in await connection.fetch(_PLAN, plans, PLAN)]
            await connection.fetchval(_END, ended)
            await connection.execute(_FACTS, facts)
        made += agents + plans + 2 * len(ended) + facts
        await asyncio.sleep(max(0.0, (int(now / TICK_S) + 1) * TICK_S - (time.perf_counter() - began)))
    return made


async def lags(database: Database, until: asyncio.Event) -> list[float]:
    """The lag, ten times a second."""
    found = []
    while not until.is_set():
        async with database.connection() as connection:
            found.append((await outbox.read_state(connection)).lag_s)
        await asyncio.sleep(0.1)
    return found


async def measure_outbox(settings: Settings, per_s: int, seconds: float) -> dict[str, Any]:
    """Rate and lag of the sync."""
    database, sync = Database(settings, size=3), GraphSync(settings, Database(settings, size=2))
    async with database.connection() as connection:
        await connection.execute(
            "insert into seedcore.agents (id, organ, host) "
            "select 'a' || n, 'o' || n % 20, 'h' from generate_series(0, $1::int) n",
            AGENTS - 1,
        )
    sync.start()
    await wait_until_synced(database, settings, 120)
    await change(database, per_s, 5)  # The JVM compiles what it runs often.
    await wait_until_synced(database, settings, 60)
    over, began = asyncio.Event(), time.perf_counter()
    watching = asyncio.create_task(lags(database, over))
    made = await change(database, per_s, seconds)
    changing_s = time.perf_counter() - began
    await wait_until_synced(database, settings, 60)
    over.set()
    found = sorted(await watching)
    answer = {
        "changes": made,
        "changes_per_s": round(made / changing_s),
        "lag_p50_s": round(statistics.median(found), 3),
        "lag_p99_s": round(found[int(len(found) * 0.99)], 3),
        "lag_max_s": round(found[-1], 3),
        "failures": sync.status()["failures"],
    }
    embedded = await measure_embedding(sync, database)
    await sync.stop()
    await database.aclose()
    return answer | embedded


async def measure_embedding(sync: GraphSync, database: Database) -> dict[str, Any]:
    """The whole of `graph.embed` on the graph that is there."""
    began = time.perf_counter()
    nodes, edges = await embed_nodes(sync.store, database, 128, lambda done, total: None)
    return {"graph_nodes": nodes, "graph_edges": edges, "embed_s": round(time.perf_counter() - began, 2)}


def measure_fastrp(nodes: int, edges: int, rounds: int) -> dict[str, Any]:
    """Vectors of a random graph, computed alone."""
    draw = np.random.default_rng(0)
    ids, ends = [f"skill:{n}" for n in range(nodes)], draw.integers(0, nodes, (2, edges))
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        fastrp(ids, ends[0], ends[1], 128)
        times.append(time.perf_counter() - began)
    return {
        "nodes": nodes,
        "edges": edges,
        "median_s": round(statistics.median(times), 3),
        "max_s": round(max(times), 3),
    }


def main() -> int:
    """Measure; prints JSON. 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory.graph", description=__doc__)
    parser.add_argument("--per-s", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--edges", type=int, default=50_000)
    parser.add_argument("--parts", nargs="+", choices=("outbox", "fastrp"), default=["outbox", "fastrp"])
    options = parser.parse_args()
    found: dict[str, Any] = {}
    missed = False
    if "fastrp" in options.parts:
        found["fastrp"] = measure_fastrp(options.nodes, options.edges, 5)
        missed |= found["fastrp"]["median_s"] > 5
    if "outbox" in options.parts:
        folder = Path(tempfile.mkdtemp(prefix="scb"))
        try:
            settings = load_settings(data_dir=folder / "data")
            migrate(settings)
            found["outbox"] = asyncio.run(measure_outbox(settings, options.per_s, options.seconds))
            missed |= found["outbox"]["lag_max_s"] > 2
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(found, indent=1))
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
