"""`python -m benchmarks.pipeline`: the whole path, submit to dispatcher to Coordinator to agent to completed.

Three figures. How fast a backlog of no-op tasks (`echo`) drains, beside PgQueuer draining no-op jobs in one process on
the same PostgreSQL, in turns. How long a single `POST` takes from the moment it was due to be sent until its completion
shows on the event feed, at a fixed rate. And whether a task that sleeps 5 s holds up the others of its batch.
"""

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.system import System
from seedcore.settings import load_settings
from seedcore.stores.embedded import embedded_postgres

CHUNK = 5000
DEADLINE_S = 300


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("--tasks", type=int, default=50_000, help="tasks of the backlog")
    parser.add_argument("--rounds", type=int, default=5, help="drains of each, in turns")
    parser.add_argument("--rate", type=float, default=100.0, help="single submits a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to submit singly")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with System(SEEDCORE_SKILLS="benchmarks.skills", PYTHONPATH=path) as system:
        result = asyncio.run(_measure(system, options))
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        Console().print(table(result))
    return 0


async def _measure(system: System, options: argparse.Namespace) -> dict[str, Any]:
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    async with httpx.AsyncClient(base_url=system.url, timeout=60, limits=limits) as client:
        async with _light(system.url) as light, Feed(light) as feed:
            await _singles(light, feed, options.rate, 3)
            latencies = await _singles(light, feed, options.rate, options.seconds)
            nap = await _beside_a_sleeper(client, feed)
        await _drain(client, 5000)
        ours: list[float] = []
        submits: list[float] = []
        peers: list[float] = []
        for n in range(options.rounds):
            if (peer := await asyncio.to_thread(_pgqueuer, system, options.tasks)) is not None:
                peers.append(peer)
            submitted, drained = await _drain(client, options.tasks)
            submits.append(submitted)
            ours.append(drained)
            print(f"round {n + 1}: SeedCore {drained:,.0f}/s, PgQueuer {peer or 0:,.0f}/s", file=sys.stderr, flush=True)
    return {
        "backlog": options.tasks,
        "submit_per_s": round(statistics.median(submits)),
        "drain_per_s": round(statistics.median(ours)),
        "drains": [round(rate) for rate in ours],
        "pgqueuer_per_s": round(statistics.median(peers)) if peers else None,
        "pgqueuer": [round(rate) for rate in peers],
        "ratio": round(statistics.median(ours) / statistics.median(peers), 2) if peers else None,
        "rate": options.rate,
        "singles": len(latencies),
        **{f"p{p}_ms": round(_percentile(latencies, p) * 1000, 2) for p in (50, 90, 99)},
        **nap,
    }


def _light(url: str) -> aiohttp.ClientSession:
    """A client that costs little: it runs on the processors that it measures (httpx took 8 ms a task there)."""
    connector = aiohttp.TCPConnector(limit=200)
    return aiohttp.ClientSession(url, connector=connector, timeout=aiohttp.ClientTimeout(60), read_bufsize=2**20)


class Feed:
    """When each completion was seen on the event feed."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self._client = client
        self._seen: dict[str, float] = {}
        self._waiting: dict[str, asyncio.Future[float]] = {}
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "Feed":
        query = [("event", "completed"), ("event", "failed")]
        request = self._client.get("/api/v1/events", params=query, timeout=aiohttp.ClientTimeout(None))
        answer = await self._stack.enter_async_context(request)
        answer.raise_for_status()
        self._reader = asyncio.create_task(self._read(answer.content))
        await asyncio.sleep(1)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._stack.aclose()

    async def _read(self, lines: AsyncIterator[bytes]) -> None:
        async for line in lines:
            if not line.startswith(b"data: "):
                continue
            now = time.perf_counter()
            for task_id in orjson.loads(line[6:])["task_ids"]:
                if (waiting := self._waiting.pop(task_id, None)) is not None:
                    waiting.set_result(now)
                else:
                    self._seen[task_id] = now

    async def ended(self, task_id: str) -> float:
        """When the end of that task was seen."""
        if task_id in self._seen:
            return self._seen.pop(task_id)
        self._waiting[task_id] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(DEADLINE_S):
            return await self._waiting[task_id]


async def _singles(client: aiohttp.ClientSession, feed: Feed, rate: float, seconds: float) -> list[float]:
    """Open loop: submits go out on schedule, whatever became of the ones before; seconds from then to their end."""
    began = time.perf_counter()

    async def one(due: float) -> float:
        async with client.post("/api/v1/tasks", json={"type": "echo", "params": {"value": 1}}) as answer:
            answer.raise_for_status()
            task_id = orjson.loads(await answer.read())["id"]
        return await feed.ended(task_id) - due

    running = []
    for n in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + n / rate - time.perf_counter()))
        running.append(asyncio.create_task(one(began + n / rate)))
    return list(await asyncio.gather(*running))


async def _beside_a_sleeper(client: httpx.AsyncClient, feed: Feed) -> dict[str, float]:
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


def _percentile(values: list[float], p: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[p - 1]


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def table(result: dict[str, Any]) -> Table:
    """The figures for people."""
    shown = Table(title="The whole path", show_header=False)
    shown.add_row("backlog of no-op tasks", f"{result['backlog']:,}, {len(result['drains'])} rounds")
    shown.add_row("submitted over HTTP", f"{result['submit_per_s']:,} tasks/s in batches of {CHUNK:,}")
    shown.add_row("drained", f"{result['drain_per_s']:,} tasks/s ({_range(result['drains'])})")
    if result["pgqueuer_per_s"]:
        shown.add_row("PgQueuer, in one process", f"{result['pgqueuer_per_s']:,} jobs/s ({_range(result['pgqueuer'])})")
        shown.add_row("ratio of the medians", f"{result['ratio']}")
    shown.add_row("single POSTs", f"{result['singles']:,} at {result['rate']:g}/s, to `completed` on the feed")
    shown.add_row("submit to complete", ", ".join(f"p{p} {result[f'p{p}_ms']} ms" for p in (50, 90, 99)))
    shown.add_row("200 no-ops beside a 5 s sleeper", f"the last after {result['beside_sleeper_ms']} ms")
    return shown


def _range(values: list[int]) -> str:
    return f"{min(values):,} to {max(values):,}"


if __name__ == "__main__":
    sys.exit(main())
