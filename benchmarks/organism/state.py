"""`python -m benchmarks.organism.state`: State over HTTP on a running SeedCore with 10,000 agents.

How long the whole `unified-state` takes (every agent in it, no 304), while nothing and while something changes, and how
long after a skill has ended its agent's count shows in a body that somebody polls.
"""

import argparse
import asyncio
import http.client
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.organism.figures import Figure
from benchmarks.system import System
from seedcore.fleet.agent_record import LearnedState
from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.fleet.agent_repository import AgentRepository
from seedcore.pricing.rates import RateEstimate
from seedcore.settings import Settings, load_settings
from seedcore.stores.postgres import Database

ORGAN = "utility"
TYPES = ("echo", "bench.clock", "text.keywords")
DONE = 40
"""Tasks that every agent has completed before the measurement begins."""

CHANGED = 500
EVERY_S = 0.2
DEADLINE_S = 30.0


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.organism.state", description=__doc__)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=200, help="of each kind")
    parser.add_argument("--changes", type=int, default=100, help="whose way into the body is timed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = figures(options.agents, options.requests, options.changes)
    print(json.dumps(result, indent=1)) if options.json else Console().print(table(result))
    return 0


def measure(_settings: Settings, rounds: int) -> list[Figure]:
    """The figures that have a target; a SeedCore of its own is measured, not the database given."""
    found = figures(10_000, 40 * rounds, 20 * rounds)
    return [
        Figure("unified-state, 10,000 agents, whole body", "ms", [found["quiet_p50_ms"]], 50, detail=found),
        Figure("the same while 2,500 agents a second change", "ms", [found["changing_p50_ms"]], 50),
        Figure("a change visible, p99", "ms", [found["visible_p99_ms"]], 500),
    ]


def figures(agents: int, requests: int, changes: int) -> dict[str, Any]:
    """The figures, in milliseconds, from a SeedCore of its own."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory(prefix="scb") as folder:
        organs = Path(folder) / "organs.yaml"
        organs.write_text(yaml.safe_dump({"organs": {ORGAN: {"agents": agents}, "ml": {"agents": 2}}}))
        environment = {"SEEDCORE_ORGANS_PATH": str(organs), "SEEDCORE_SKILLS": "benchmarks.skills", "PYTHONPATH": path}
        with System(**environment) as system:
            settings = load_settings(data_dir=system.data_dir)
            ids = [f"{ORGAN}-{n:04d}" for n in range(agents)]
            asyncio.run(_fill(settings, ids))
            bodies = Bodies(system.port)
            bodies.time(20)
            quiet = bodies.time(requests)
            with _changing(settings, ids):
                busy = bodies.time(requests)
            same = bodies.time(requests, unchanged=True)
            seen = _visible(system, changes)
    return {
        "agents": bodies.agents,
        "bytes": bodies.size,
        "requests": requests,
        **_percentiles("quiet", quiet),
        **_percentiles("changing", busy),
        **_percentiles("not_modified", same),
        "changes": len(seen),
        **_percentiles("visible", seen),
    }


async def _fill(settings: Settings, ids: list[str]) -> None:
    """Write agents with a past, as their host does."""
    book = AgentRegistry(ORGAN, ids)
    rates = RateEstimate()
    for _ in range(DONE):
        rates.add(1, 0.01, 1)
    for agent_id in ids:
        book.restore(agent_id, LearnedState(completed=DONE, rates=dict.fromkeys(TYPES, rates)))
    database = Database(settings)
    await AgentRepository(database).save("seedcore-host-filled", book)
    await database.aclose()


@contextmanager
def _changing(settings: Settings, ids: list[str]) -> Iterator[None]:
    """Meanwhile a part of the agents changes again and again."""
    spawning = multiprocessing.get_context("spawn")
    stop, began = spawning.Event(), spawning.Event()
    # A process of its own, as hosts are: the one that measures has nothing else to do.
    process = spawning.Process(target=_change, args=(settings.data_dir, ids[-CHANGED:], stop, began))
    process.start()
    try:
        if not began.wait(DEADLINE_S):
            raise RuntimeError("nothing changes")
        yield
    finally:
        stop.set()
        process.join()


def _change(data_dir: Path, ids: list[str], stop: Any, began: Any) -> None:
    async def change() -> None:
        database = Database(load_settings(data_dir=data_dir))
        book = AgentRegistry(ORGAN, ids)
        store = AgentRepository(database)
        while not stop.is_set():
            for agent_id in ids:
                book.accept_one(agent_id, "echo")
                book.finish(agent_id, "echo", 0.01, ok=True)
            await store.save("seedcore-host-filled", book)
            began.set()
            await asyncio.sleep(EVERY_S)
        await database.aclose()

    asyncio.run(change())


class Bodies:
    """Whole bodies over one connection; a client as lean as the standard library's, for it takes of the same cores."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
        self.size = self.agents = 0

    def time(self, count: int, *, unchanged: bool = False) -> list[float]:
        """Milliseconds from the request to the last byte."""
        # The queue's oldest task grows older all the time; this one asks for what stays.
        path = "/state/unified-state" + ("?include_system=false" if unchanged else "")
        tag = self._get(path, None)[1] if unchanged else None
        took = []
        for _ in range(count):
            began = time.perf_counter()
            status, _, body = self._get(path, tag)
            took.append((time.perf_counter() - began) * 1000)
            if status != (304 if unchanged else 200):
                raise RuntimeError(f"{path} answered {status}")
            if not unchanged:
                self.size, text = len(body), body
            time.sleep(0.01)
        if not unchanged:
            self.agents = len(json.loads(text)["agents"])
        return took

    def _get(self, path: str, tag: str | None) -> tuple[int, str, bytes]:
        self._connection.request("GET", path, headers={"If-None-Match": tag} if tag else {})
        answer = self._connection.getresponse()
        return answer.status, answer.headers["etag"], answer.read()


def _visible(system: System, count: int) -> list[float]:
    """Milliseconds from the end of a skill on an agent until a body shows it, polled without a pause."""
    took = []
    task = {"organ_id": ORGAN, "task": {"type": "bench.clock", "params": {}}}
    with httpx.Client(base_url=system.url, timeout=DEADLINE_S) as client:
        for n in range(count):
            answer = client.post("/organism/execute-on-organ", json=task).raise_for_status().json()
            ask = {"agent_ids": answer["agent"], "include_organs": False, "include_system": False}
            deadline = time.monotonic() + DEADLINE_S
            while True:
                state = client.get("/state/unified-state", params={**ask, "include_memory": False}).json()
                if state["agents"].get(answer["agent"], {}).get("completed") == DONE + 1:
                    break
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{answer['agent']} is not seen: {state}")
            took.append((time.time() - answer["result"]["at"]) * 1000)
            # Not in step with the host's own pauses.
            time.sleep(0.037 * (n % 7))
    return took


def _percentiles(name: str, values: list[float]) -> dict[str, float]:
    points = statistics.quantiles(values, n=100, method="inclusive")
    return {f"{name}_p50_ms": round(points[49], 1), f"{name}_p99_ms": round(points[98], 1)}


def table(result: dict[str, Any]) -> Table:
    """The figures for people."""
    shown = Table(title=f"unified-state of {result['agents']:,} agents ({result['bytes'] / 1e6:.2f} MB)")
    for column in ("", "p50, ms", "p99, ms"):
        shown.add_column(column)
    rows = {
        "quiet": "whole body, nothing changes",
        "changing": f"whole body, {CHANGED / EVERY_S:,.0f} agents a second change",
        "not_modified": "304",
        "visible": "a change, from its host to a body",
    }
    for name, text in rows.items():
        shown.add_row(text, str(result[f"{name}_p50_ms"]), str(result[f"{name}_p99_ms"]))
    return shown


if __name__ == "__main__":
    sys.exit(main())
