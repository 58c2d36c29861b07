"""`POST /ml/xgboost/predict` beside the same model in a bare Serve deployment of the same Ray and proxy, in turns."""

import asyncio
import statistics
import subprocess
import sys
import time
from typing import Any

import httpx
import orjson
from rich.console import Console

from benchmarks.ml.models import COLUMNS, feature_rows, training_request
from benchmarks.system import ROOT, System

REQUESTS, CLIENTS = 2_000, 16


def measure(rounds: int = 7) -> dict[str, Any]:
    """Requests a second of each, and the ratio of their medians."""
    with System() as system:
        system.wait_healthy()
        httpx.post(f"{system.url}/ml/xgboost/train", json=training_request(), timeout=120).raise_for_status()
        model = system.data_dir / "models" / "m" / "1" / "model.ubj"
        command = [sys.executable, "-m", "benchmarks.ml.bare_serve", str(model)]
        subprocess.run(command, env=system.environment, cwd=ROOT, check=True, capture_output=True, timeout=180)
        return asyncio.run(_compare(system.url, rounds))


async def _compare(url: str, rounds: int) -> dict[str, Any]:
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in feature_rows()]
    bodies = {
        "/ml/xgboost/predict": [orjson.dumps({"name": "m", "features": row}) for row in rows],
        "/bare/predict": [orjson.dumps({"features": row}) for row in rows],
    }
    rates: dict[str, list[float]] = {path: [] for path in bodies}
    singles: dict[str, list[float]] = {path: [] for path in bodies}
    limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        for path, questions in bodies.items():
            await _load(client, path, questions, REQUESTS // 4, CLIENTS)
        for _ in range(rounds):
            for path, questions in bodies.items():
                rates[path].append(await _load(client, path, questions, REQUESTS, CLIENTS))
                singles[path].append(1000 / await _load(client, path, questions, REQUESTS // 10, 1))
    ours, bare = (statistics.median(rates[path]) for path in bodies)
    one, bare_one = (statistics.median(singles[path]) for path in bodies)
    return {
        "clients": CLIENTS,
        "ours_per_s": round(ours),
        "bare_per_s": round(bare),
        "ratio": round(ours / bare, 2),
        "ours_ms": round(one, 2),
        "bare_ms": round(bare_one, 2),
        "ratio_one_client": round(bare_one / one, 2),
    }


async def _load(client: httpx.AsyncClient, path: str, bodies: list[bytes], count: int, clients: int) -> float:
    numbers = iter(range(count))
    headers = {"content-type": "application/json"}

    async def ask() -> None:
        for n in numbers:
            answer = await client.post(path, content=bodies[n % len(bodies)], headers=headers)
            assert answer.status_code == 200, answer.text

    began = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(clients)))
    return count / (time.perf_counter() - began)


def report(console: Console, found: dict[str, Any]) -> None:
    """In two lines."""
    console.print(
        f"{found['clients']} clients: {found['ours_per_s']:,}/s, bare {found['bare_per_s']:,}/s, "
        f"ratio {found['ratio']}\n"
        f"one client: {found['ours_ms']} ms, bare {found['bare_ms']} ms, ratio {found['ratio_one_client']}"
    )
