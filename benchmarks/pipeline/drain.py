"""How fast a backlog drains, beside PgQueuer on the same PostgreSQL; and whether a sleeper holds up its batch."""

import asyncio
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from datetime import datetime
from typing import Any

import httpx

from benchmarks.pipeline.feed import DEADLINE_S, Feed
from benchmarks.system import System
from seedcore.settings import load_settings
from seedcore.stores.embedded import embedded_postgres

CHUNK = 5000


async def drains(client: httpx.AsyncClient, system: System, tasks: int, rounds: int) -> dict[str, Any]:
    """Rates of `rounds` drains of each, in turns, and the ratio of their medians."""
    if importlib.util.find_spec("pgqueuer") is None:
        print("PgQueuer is not installed (pip install '.[bench]'): no comparison", file=sys.stderr, flush=True)
    await _drain(client, min(5000, tasks))
    ours: list[float] = []
    submits: list[float] = []
    peers: list[float] = []
    valves: list[dict[str, int]] = []
    for n in range(rounds):
        if (peer := await asyncio.to_thread(_pgqueuer, system, tasks)) is not None:
            peers.append(peer)
        before = await _valve_counts(client)
        submitted, drained = await _drain(client, tasks)
        valves.append({what: count - before[what] for what, count in (await _valve_counts(client)).items()})
        submits.append(submitted)
        ours.append(drained)
        rates = f"SeedCore {drained:,.0f}/s, PgQueuer {peer or 0:,.0f}/s"
        print(f"round {n + 1}: {rates}; valves: {valves[-1]}", file=sys.stderr, flush=True)
    return {
        "backlog": tasks,
        "submit_per_s": round(statistics.median(submits)),
        "drain_per_s": round(statistics.median(ours)),
        "drains": [round(rate) for rate in ours],
        "valves": valves,
        "pgqueuer_per_s": round(statistics.median(peers)) if peers else None,
        "pgqueuer": [round(rate) for rate in peers],
        "ratio": round(statistics.median(ours) / statistics.median(peers), 2) if peers else None,
    }


async def beside_a_sleeper(client: httpx.AsyncClient, feed: Feed) -> dict[str, float]:
    """A batch of 200 no-ops with one that sleeps 5 s in its middle: when the last no-op and when the sleeper ended."""
    tasks: list[dict[str, Any]] = [{"type": "echo", "params": {"value": n}} for n in range(200)]
    tasks.insert(100, {"type": "bench.sleep", "params": {"seconds": 5}})
    began = time.perf_counter()
    answer = await client.post("/api/v1/tasks/batch", json={"tasks": tasks})
    ids = answer.raise_for_status().json()["ids"]
    ends = await asyncio.gather(*[feed.ended(task_id) for task_id in ids])
    others = [end for n, end in enumerate(ends) if n != 100]
    return {
        "beside_sleeper_ms": round((max(others) - began) * 1000, 1),
        "sleeper_ms": round((ends[100] - began) * 1000, 1),
    }


async def _drain(client: httpx.AsyncClient, count: int) -> tuple[float, float]:
    """Fill a paused queue, let it go; tasks a second submitted, and drained from then to the last completion.

    Both ends of the drain are the database's times.
    """
    async with asyncio.timeout(DEADLINE_S):
        (await client.post("/api/v1/queue/default/pause")).raise_for_status()
        began = time.perf_counter()
        ids: list[str] = []
        for start in range(0, count, CHUNK):
            body = [{"type": "echo", "params": {"value": n}} for n in range(start, min(start + CHUNK, count))]
            answer = await client.post("/api/v1/tasks/batch", json={"tasks": body})
            ids += answer.raise_for_status().json()["ids"]
        submitted = time.perf_counter() - began
        resumed = (await client.post("/api/v1/queue/default/resume")).raise_for_status().json()["at"]
        while not await _empty(client):
            await asyncio.sleep(0.25)
        return count / submitted, count / (await _last_end(client, set(ids)) - _epoch(resumed))


async def _valve_counts(client: httpx.AsyncClient) -> dict[str, int]:
    """What the valves have done so far, since rounds differ by it: alarms, and decisions of an open one."""
    streams = (await client.get("/pipeline/valve")).raise_for_status().json()["streams"]
    decisions = (await client.get("/pipeline/metrics")).raise_for_status().json()["decisions"]
    alarms = sum(stream[kind]["alarms"] for stream in streams for kind in ("work", "outcome"))
    return {
        "alarms": alarms,
        "planned": decisions.get("plan:valve_open", 0),
        "waited": decisions.get("wait:plan_share", 0),
    }


async def _empty(client: httpx.AsyncClient) -> bool:
    queue = (await client.get("/api/v1/queue")).raise_for_status().json()
    return not queue["running"] and not any(q["ready"] + q["deferred"] for q in queue["queues"].values())


async def _last_end(client: httpx.AsyncClient, ids: set[str]) -> float:
    """When the last of the tasks ended (seconds since the epoch), after seeing that each of them completed."""
    last, cursor = 0.0, None
    left = set(ids)
    while left:
        query = {"limit": "500", "type": "echo", **({"cursor": cursor} if cursor else {})}
        page = (await client.get("/api/v1/tasks", params=query)).raise_for_status().json()
        for task in page["items"]:
            if task["id"] in left:
                assert task["status"] == "completed", task
                left.discard(task["id"])
                last = max(last, _epoch(task["finished_at"]))
        cursor = page["next_cursor"]
        assert cursor or not left, f"{len(left)} tasks are missing"
    return last


def _pgqueuer(system: System, jobs: int) -> float | None:
    """PgQueuer's drain on the system's own PostgreSQL; None when it is not installed."""
    if importlib.util.find_spec("pgqueuer") is None:
        return None
    dsn = embedded_postgres(load_settings(data_dir=system.data_dir)).acquire()
    command = [sys.executable, "-m", "benchmarks.queue.pgqueuer", "--server", dsn, "--jobs", str(jobs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    return float(json.loads(done.stdout.strip().splitlines()[-1])["jobs_per_s"])


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
