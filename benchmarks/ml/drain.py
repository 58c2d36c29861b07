"""A backlog of `ml.predict` tasks beside one of `echo` with the same params, drained in turns by a whole SeedCore."""

import asyncio
import statistics
import time
from collections.abc import Mapping
from typing import Any

import httpx
from rich.console import Console

from benchmarks.ml.models import COLUMNS, feature_rows, training_request
from benchmarks.system import System

TASKS, CHUNK, DEADLINE_S = 10_000, 2_000, 300.0


def measure(rounds: int = 3) -> dict[str, Any]:
    """Tasks a second of each, and the ratio of their medians."""
    with System() as system:
        system.wait_healthy()
        return asyncio.run(_drains(system, rounds))


async def _drains(system: System, rounds: int) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=system.url, timeout=120) as client:
        (await client.post("/ml/xgboost/train", json=training_request())).raise_for_status()
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in feature_rows()]
        rates: dict[str, list[float]] = {"echo": [], "ml.predict": []}
        for kind in rates:
            await _drain(client, kind, rows, CHUNK)
        for _ in range(rounds):
            for kind, found in rates.items():
                found.append(await _drain(client, kind, rows, TASKS))
        (await client.post("/ml/xgboost/promote", json={"name": "m", "version": 1})).raise_for_status()
        await _drain(client, "ml.predict", rows, CHUNK)
        recorded = [await _drain(client, "ml.predict", rows, TASKS) for _ in range(rounds)]
    echo, ours = statistics.median(rates["echo"]), statistics.median(rates["ml.predict"])
    return {
        "tasks": TASKS,
        "echo_per_s": round(echo),
        "predict_per_s": round(ours),
        "recorded_per_s": round(statistics.median(recorded)),
        "ratio": round(ours / echo, 2),
        "recorded_ratio": round(statistics.median(recorded) / echo, 2),
    }


async def _drain(client: httpx.AsyncClient, kind: str, rows: list[dict[str, float]], count: int) -> float:
    """Fill a paused queue, let it go; tasks a second from then until the queue is empty."""
    async with asyncio.timeout(DEADLINE_S):
        (await client.post("/api/v1/queue/default/pause")).raise_for_status()
        for start in range(0, count, CHUNK):
            asked = [{"name": "m", "features": rows[n % len(rows)]} for n in range(start, start + CHUNK)]
            tasks = [{"type": kind, "params": {"value": one} if kind == "echo" else one} for one in asked]
            (await client.post("/api/v1/tasks/batch", json={"tasks": tasks})).raise_for_status()
        began = time.perf_counter()
        (await client.post("/api/v1/queue/default/resume")).raise_for_status()
        while not _is_empty((await client.get("/api/v1/queue")).raise_for_status().json()):
            await asyncio.sleep(0.05)
        seconds = time.perf_counter() - began
    failed = (await client.get("/api/v1/dead/counts")).raise_for_status().json()
    assert not any(map(bool, failed.get("counts", ()))), failed
    return count / seconds


def _is_empty(queue: Mapping[str, Any]) -> bool:
    return not queue["running"] and not any(q["ready"] + q["deferred"] for q in queue["queues"].values())


def report(console: Console, found: dict[str, Any]) -> None:
    """In one line."""
    console.print(
        f"{found['tasks']:,} tasks: echo {found['echo_per_s']:,}/s, ml.predict {found['predict_per_s']:,}/s "
        f"({found['ratio']} of echo), with a champion and recording {found['recorded_per_s']:,}/s "
        f"({found['recorded_ratio']})"
    )
