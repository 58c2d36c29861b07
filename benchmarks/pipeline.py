"""`python -m benchmarks.pipeline`: the whole path, submit to dispatcher to Coordinator to agent to completed.

Two figures: how fast a backlog of no-op tasks (`echo`) drains, and how long a single `POST` takes from submission to
the `completed` event on its feed at a fixed rate. Starts a SeedCore of its own unless `--base-url` names one.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.system import System

CHUNK = 5000


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("--base-url", help="a running SeedCore (default: one of its own)")
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks of the backlog")
    parser.add_argument("--rate", type=float, default=100.0, help="single submits a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to submit singly")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with _target(options.base_url) as url:
        result = asyncio.run(_measure(url, options.tasks, options.rate, options.seconds))
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        Console().print(table(result))
    return 0


@contextlib.contextmanager
def _target(base_url: str | None) -> Iterator[str]:
    if base_url:
        yield base_url
        return
    with System() as system:
        yield system.url


async def _measure(url: str, tasks: int, rate: float, seconds: float) -> dict[str, Any]:
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        await _drain(client, 500)
        latencies = await _latencies(client, rate, seconds)
        drained = await _drain(client, tasks)
    return {
        "backlog": tasks,
        "submit_per_s": round(drained["submit_per_s"]),
        "drain_per_s": round(drained["drain_per_s"]),
        "rate": rate,
        "p50_ms": round(statistics.median(latencies) * 1000, 2),
        "p99_ms": round(statistics.quantiles(latencies, n=100)[98] * 1000, 2),
        "singles": len(latencies),
    }


async def _drain(client: httpx.AsyncClient, count: int) -> dict[str, float]:
    """Submit `count` tasks that become due together, then time their drain from that moment to the last completion."""
    async with asyncio.timeout(300):
        now = await _server_time(client)
        due = now + max(2.0, count / 8000)
        began = time.perf_counter()
        ids: list[str] = []
        for start in range(0, count, CHUNK):
            body = [
                {"type": "echo", "params": {"value": n}, "run_after": _iso(due)}
                for n in range(start, min(start + CHUNK, count))
            ]
            answer = await client.post("/api/v1/tasks/batch", json={"tasks": body})
            ids += answer.raise_for_status().json()["ids"]
        submitted = time.perf_counter() - began
        while (last := await _ended(client, ids)) is None:
            await asyncio.sleep(0.1)
    return {"submit_per_s": count / submitted, "drain_per_s": count / (last - due)}


async def _ended(client: httpx.AsyncClient, ids: list[str]) -> float | None:
    """When the last of the tasks ended (seconds since the epoch, the database's clock); None while some have not."""
    queue = (await client.get("/api/v1/queue")).raise_for_status().json()
    waiting = sum(q["ready"] + q["deferred"] for q in queue["queues"].values())
    if waiting or queue["running"]:
        return None
    ends = []
    cursor: str | None = None
    while len(ends) < len(ids):
        query = {"limit": "500", "type": "echo", **({"cursor": cursor} if cursor else {})}
        page = (await client.get("/api/v1/tasks", params=query)).raise_for_status().json()
        ends += [_epoch(task["finished_at"]) for task in page["items"] if task["finished_at"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    return max(ends[: len(ids)])


async def _latencies(client: httpx.AsyncClient, rate: float, seconds: float) -> list[float]:
    """Open loop: submits go out on schedule, whatever became of the ones before."""
    began = time.perf_counter()
    running = []
    for n in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + n / rate - time.perf_counter()))
        running.append(asyncio.create_task(_one(client, began + n / rate)))
    return list(await asyncio.gather(*running))


async def _one(client: httpx.AsyncClient, due: float) -> float:
    answer = await client.post("/api/v1/tasks", json={"type": "echo", "params": {"value": 1}})
    task = answer.raise_for_status().json()
    async with client.stream("GET", f"/api/v1/tasks/{task['id']}/events") as events:
        async for line in events.aiter_lines():
            if line == "event: completed":
                return time.perf_counter() - due
    raise RuntimeError(f"task {task['id']} did not complete")


async def _server_time(client: httpx.AsyncClient) -> float:
    probe = await client.post("/api/v1/tasks", json={"type": "echo", "params": {"value": "time"}})
    return _epoch(probe.raise_for_status().json()["created_at"])


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat()


def table(result: dict[str, Any]) -> Table:
    """The figures for people."""
    shown = Table(title="The whole path", show_header=False)
    shown.add_row("backlog of no-op tasks", f"{result['backlog']:,}")
    shown.add_row("submitted over HTTP", f"{result['submit_per_s']:,} tasks/s in batches of {CHUNK:,}")
    shown.add_row("drained", f"{result['drain_per_s']:,} tasks/s")
    shown.add_row("single POSTs", f"{result['singles']:,} at {result['rate']:g}/s, to the completed event")
    shown.add_row("submit to complete", f"p50 {result['p50_ms']} ms, p99 {result['p99_ms']} ms")
    return shown


if __name__ == "__main__":
    sys.exit(main())
