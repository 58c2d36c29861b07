"""A stream of real tasks on a running SeedCore: how often its valves alarm while nothing changes, and how soon else."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np

from benchmarks.system import System
from benchmarks.valve.real import AFTER, BEFORE, messages

TYPE, BATCH, LEARN = "text.keywords", 250, 1_000
DEADLINE_S = 240


def table(tasks: int = 20_000) -> list[list[str]]:
    """Rows of (what, seen, promised). The valves are told of at most 50 tasks a claim, so 50 are claimed at once."""
    with System(SEEDCORE_CLAIM_BATCH="50") as system:
        stream = _Stream(system)
        stream.learn()
        before = stream.settled()
        began = time.monotonic()
        ids = stream.send(BEFORE, tasks)
        took = time.monotonic() - began
        after = stream.settled()
        routes = Counter(stream.rule(task_id) for task_id in ids[:: max(1, len(ids) // 200)])
        stream.send(AFTER, 200)
        shifted = stream.settled()
    alarms = {name: after[name]["alarms"] - before[name]["alarms"] for name in ("work", "outcome")}
    watched = {name: after[name]["observed"] - before[name]["observed"] for name in ("work", "outcome")}
    opened = shifted["work"]["opened_at"] if after["work"]["state"] == "closed" else None
    delay = "open before" if opened is None else f"{opened - after['work']['observed']} tasks"
    return [
        [f"alarms in {tasks:,} tasks without a shift ({tasks / took:,.0f}/s)", _alarms(alarms), f"{tasks / 10_000:g}"],
        ["watched of them", f"{watched['work']:,} tasks, {watched['outcome']:,} outcomes", ""],
        ["rules of every hundredth", ", ".join(f"{rule} {n}" for rule, n in routes.most_common()), ""],
        ["delay after the vocabulary changed", delay, "50"],
    ]


def _alarms(alarms: dict[str, int]) -> str:
    return f"{sum(alarms.values())} ({alarms['work']} of the work, {alarms['outcome']} of outcomes)"


class _Stream:
    def __init__(self, system: System) -> None:
        self._system, self._rng, self._sent = system, np.random.default_rng(0), 0

    def send(self, words: tuple[str, ...], count: int) -> list[str]:
        """Submit tasks, and wait until all of them have been decided and have ended."""
        ids: list[str] = []
        for start in range(0, count, BATCH):
            texts = messages(self._rng, words, min(BATCH, count - start))
            body = {"tasks": [{"type": TYPE, "params": {"text": text}} for text in texts]}
            answer = httpx.post(f"{self._system.url}/api/v1/tasks/batch", json=body, timeout=60).raise_for_status()
            ids += answer.json()["ids"]
            self._sent += len(texts)
            self._until_ended(ids[-1:])
        self._until_ended(ids[-BATCH:])
        return ids

    def valve(self) -> dict[str, Any]:
        """What the Coordinator knows about the stream."""
        streams = self._system.get("/pipeline/valve")["streams"]
        found: dict[str, Any] = next(s for s in streams if s["stream"] == TYPE)
        return found

    def settled(self) -> dict[str, Any]:
        """What the Coordinator knows once every task has been reported and no row waits."""
        self._until(lambda: self.valve()["tasks"] >= self._sent and self.valve()["waiting"] == 0)
        return self.valve()

    def learn(self) -> None:
        """Send until both valves are calibrated: of outcomes they are told a few a question."""
        deadline = time.monotonic() + DEADLINE_S
        self.send(BEFORE, LEARN)
        while any(self.valve()[name]["state"] == "learning" for name in ("work", "outcome")):
            if time.monotonic() > deadline:
                raise TimeoutError(f"still learning after {DEADLINE_S} s: {self.valve()}")
            self.send(BEFORE, LEARN)

    def rule(self, task_id: str) -> str:
        """The rule by which a task went its way."""
        decision = self._system.get(f"/api/v1/tasks/{task_id}")["decision"]
        return str(decision["rule"])

    def _until_ended(self, ids: list[str]) -> None:
        paths = [f"/api/v1/tasks/{task_id}" for task_id in ids]
        self._until(lambda: all(self._system.get(path)["finished_at"] is not None for path in paths))

    def _until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {DEADLINE_S} s: {self.valve()}")
            time.sleep(0.02)
