"""Single submits at a fixed rate: how long each takes, and the processor time that a task costs."""

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from benchmarks.cpu import RAY, Reading, between, read
from benchmarks.pipeline.feed import Feed
from benchmarks.pipeline.figures import percentile
from benchmarks.system import System

WARM_S, SETTLE_S = 3.0, 5.0
ECHO = {"type": "echo", "params": {"value": 1}}


@dataclass(slots=True)
class Load:
    """What became of the submits: seconds from when each was due to its end on the feed; how many had none."""

    seconds: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    late_s: float = 0.0
    """How long after the last submit was due the last end was seen."""

    def as_json(self) -> dict[str, Any]:
        """Milliseconds."""
        found: dict[str, Any] = {"tasks": len(self.seconds), "without_end": dict(self.refused)}
        found |= {f"p{p}_ms": round(percentile(self.seconds, p) * 1000, 2) for p in (50, 90, 99)}
        return found | {"last_end_after_s": round(self.late_s, 2)}


async def submit_singly(client: aiohttp.ClientSession, feed: Feed, rate: float, seconds: float) -> Load:
    """Open loop: submits go out on schedule, whatever became of the ones before."""
    load = Load()

    async def one(due: float) -> None:
        try:
            async with client.post("/api/v1/tasks", json=ECHO) as answer:
                answer.raise_for_status()
                task_id = orjson.loads(await answer.read())["id"]
            load.seconds.append(await feed.ended(task_id) - due)
        except aiohttp.ClientResponseError as error:
            load.refused[f"HTTP {error.status}"] += 1
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            load.refused[type(error).__name__] += 1

    began = time.perf_counter()
    running = []
    for n in range(max(1, int(rate * seconds))):
        due = began + n / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        running.append(asyncio.create_task(one(due)))
    await asyncio.gather(*running)
    load.late_s = time.perf_counter() - due
    return load


async def singles(
    client: aiohttp.ClientSession, feed: Feed, rates: list[float], seconds: float, sustained_s: float
) -> dict[str, Any]:
    """Each rate for `seconds`, the highest for `sustained_s`."""
    found = {}
    for rate in sorted(rates):
        await submit_singly(client, feed, min(rate, 100), WARM_S)
        load = await submit_singly(client, feed, rate, sustained_s if rate == max(rates) else seconds)
        found[f"{rate:g}"] = load.as_json()
        await asyncio.sleep(SETTLE_S)
    return found


async def processor_time(
    system: System, client: aiohttp.ClientSession, feed: Feed, rate: float, seconds: float
) -> dict[str, Any]:
    """Milliseconds of processor time a task, by group of processes, and what the same seconds cost without a task.

    The client is not among them. `other_processors` says how many processors others on the machine used meanwhile.
    """
    await submit_singly(client, feed, rate, WARM_S)
    await asyncio.sleep(SETTLE_S)
    idle, idle_s = await _during(system, asyncio.sleep(seconds))
    load_of: list[Load] = []

    async def loaded() -> None:
        load_of.append(await submit_singly(client, feed, rate, seconds))

    used, took = await _during(system, loaded())
    (load,) = load_of
    tasks = max(1, len(load.seconds))
    groups = {
        name: {
            "ms": round(1000 * used.groups[name] / tasks, 3),
            "idle_ms": round(1000 * idle.groups[name] * took / idle_s / tasks, 3),
        }
        for name in sorted(used.groups | idle.groups, key=lambda name: -used.groups[name])
    }
    total, ray = sum(group["ms"] for group in groups.values()), groups.get(RAY, {"idle_ms": 0.0})["idle_ms"]
    return {
        "rate": rate,
        **load.as_json(),
        "groups": groups,
        "ms": round(total, 2),
        "idle_ms": round(sum(group["idle_ms"] for group in groups.values()), 2),
        "ray_idle_ms": round(ray, 2),
        "beside_ray_idle_ms": round(total - ray, 2),
        "client_ms": round(1000 * used.client_s / tasks, 2),
        "other_processors": round((used.machine_s - sum(used.groups.values()) - used.client_s) / took, 2),
    }


async def idle_processors(system: System, seconds: float) -> dict[str, Any]:
    """Processors that each group uses while no task comes."""
    await asyncio.sleep(SETTLE_S)
    used, took = await _during(system, asyncio.sleep(seconds))
    groups = {name: round(spent / took, 4) for name, spent in used.groups.most_common()}
    others = (used.machine_s - sum(used.groups.values()) - used.client_s) / took
    return {"processors": round(sum(groups.values()), 3), "groups": groups, "other_processors": round(others, 2)}


@dataclass(frozen=True, slots=True)
class _Spent:
    groups: Counter[str]
    client_s: float
    machine_s: float


async def _during(system: System, work: Any) -> tuple[_Spent, float]:
    """What was spent while `work` was awaited, and how many seconds that took."""
    client_s, began = time.process_time(), time.perf_counter()
    before = await _read(system)
    await work
    after = await _read(system)
    took = time.perf_counter() - began
    spent = between(before, after)
    return _Spent(spent, time.process_time() - client_s, after.machine_s - before.machine_s), took


async def _read(system: System) -> Reading:
    return await asyncio.to_thread(lambda: read(system.processes()))


async def route_and_execute(client: aiohttp.ClientSession, count: int) -> dict[str, Any]:
    """Milliseconds of `route-and-execute` of `echo`, one after the other with a pause that is never the same twice."""
    seconds: list[float] = []
    failed: Counter[str] = Counter()
    for n in range(count + 5):
        await asyncio.sleep(0.05 + 0.1 * (n * 0.618 % 1))
        began = time.perf_counter()
        with contextlib.suppress(aiohttp.ClientError):
            async with client.post("/pipeline/route-and-execute", json=ECHO) as answer:
                status = orjson.loads(await answer.read()).get("status")
            if answer.status != 200 or status != "completed":
                failed[f"HTTP {answer.status}, {status}"] += 1
            elif n >= 5:
                seconds.append(time.perf_counter() - began)
    return {
        "calls": len(seconds),
        "failed": dict(failed),
        **{f"p{p}_ms": round(percentile(seconds, p) * 1000, 2) for p in (50, 90, 99)},
    }
