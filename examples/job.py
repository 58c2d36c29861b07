"""The demo's job: train on 70 % of the patients, predict each other one in a task, and evaluate the tasks."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from examples.api import Api, JobError
from examples.patients import LABEL, Split

MODEL = "breast-cancer"
ENDED = frozenset({"completed", "failed", "cancelled"})
_MAX_CONCURRENT = 8
_MIN_POLL_S, _MAX_POLL_S = 0.1, 1.0


@dataclass(slots=True)
class Outcome:
    """The outcome, by the tasks alone."""

    rows: int
    model: dict[str, Any]
    held_out_metrics: dict[str, float]
    training_time_s: float
    correct: int = 0
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    answered_twice: list[str] = field(default_factory=list)
    routes: dict[str, int] = field(default_factory=dict)
    retried: int = 0
    seconds: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None
    http_retries: int = 0

    @property
    def accuracy(self) -> float:
        """The share of rows whose task predicted the right label; unanswered rows count as wrong."""
        return self.correct / self.rows

    @property
    def throughput(self) -> float:
        """Completed tasks a second, from the first creation to the last end."""
        return self.answered / self.seconds if self.seconds else 0.0

    @property
    def good(self) -> bool:
        """Whether every row was answered exactly once."""
        return self.answered == self.rows and not (self.failed or self.unanswered or self.answered_twice)


async def run(api: Api, split: Split, queue: str | None, done: Callable[[int], None] = lambda _n: None) -> Outcome:
    """Run the job on one split; `done` is called with the number of tasks that have ended so far.

    Raises:
        JobError: training or submission was refused, or SeedCore did not answer in time.
    """
    model = await train(api, split)
    outcome = Outcome(
        rows=len(split.test_rows),
        model={"name": model["name"], "version": model["version"]},
        held_out_metrics=model["metrics"],
        training_time_s=model["training_time_s"],
    )
    ids = await submit(api, split, outcome.model, queue)
    tasks = await follow(api, ids, done)
    events = await count_ends(api, [task_id for task_id, task in tasks.items() if task["status"] in ENDED])
    evaluate(outcome, ids, split.test_labels, tasks, events)
    outcome.http_retries = api.retries
    return outcome


async def train(api: Api, split: Split) -> Any:
    """Train on the first part; the answer of `POST /ml/xgboost/train`."""
    rows = [[*row, label] for row, label in zip(split.train_rows, split.train_labels, strict=True)]
    body = {"name": MODEL, "columns": [*split.columns, LABEL], "rows": rows, "label_column": LABEL}
    return await api.json("POST", "/ml/xgboost/train", body)


async def submit(api: Api, split: Split, model: dict[str, Any], queue: str | None) -> list[str]:
    """One task a row, all in one batch; the ids in the order of the rows.

    Each task has an idempotency key: if the response is lost and the batch is sent again, the ids of the first tasks
    are returned.
    """
    run_id = uuid.uuid4().hex
    tasks = []
    for i, row in enumerate(split.test_rows):
        params = {**model, "features": dict(zip(split.columns, row, strict=True))}
        task = {"type": "ml.predict", "params": params, "idempotency_key": f"demo-{run_id}-{i}"}
        tasks.append(task | ({"queue": queue} if queue else {}))
    ids = (await api.json("POST", "/api/v1/tasks/batch", {"tasks": tasks}))["ids"]
    if len(ids) != len(tasks) or len(set(ids)) != len(ids):
        raise JobError(f"{len(tasks)} tasks were submitted, but {len(set(ids))} different ids were returned.")
    return [str(task_id) for task_id in ids]


async def follow(api: Api, ids: list[str], done: Callable[[int], None]) -> dict[str, Any]:
    """Poll unfinished tasks until all have ended or the deadline passes; the tasks as last seen."""
    seen: dict[str, Any] = {}
    waiting = list(ids)
    slots, pause = asyncio.Semaphore(_MAX_CONCURRENT), _MIN_POLL_S

    async def poll(task_id: str) -> None:
        async with slots:
            try:
                seen[task_id] = await api.json("GET", f"/api/v1/tasks/{task_id}")
            except JobError as error:
                seen[task_id] = {"status": "unknown", "why": str(error)}

    while True:
        await asyncio.gather(*(poll(task_id) for task_id in waiting))
        left = [task_id for task_id in waiting if seen[task_id]["status"] not in ENDED]
        done(len(ids) - len(left))
        if not left or time.monotonic() + pause > api.deadline:
            return seen
        pause = _MIN_POLL_S if len(left) < len(waiting) else min(2 * pause, _MAX_POLL_S)
        waiting = left
        await asyncio.sleep(pause)


async def count_ends(api: Api, ids: list[str]) -> dict[str, int]:
    """How often each task ended, by its events: once, unless it was answered twice."""
    slots = asyncio.Semaphore(_MAX_CONCURRENT)

    async def count(task_id: str) -> int:
        async with slots:
            return sum(name in ENDED for name in await api.events(task_id))

    return dict(zip(ids, await asyncio.gather(*(count(task_id) for task_id in ids)), strict=True))


def evaluate(outcome: Outcome, ids: list[str], labels: list[str], tasks: dict[str, Any], ends: dict[str, int]) -> None:
    """Fill in the outcome from the tasks alone."""
    routes: Counter[str] = Counter()
    spans = []
    for task_id, label in zip(ids, labels, strict=True):
        task = tasks[task_id]
        if task["status"] not in ENDED:
            outcome.unanswered.append(task_id)
            continue
        if ends[task_id] != 1:
            outcome.answered_twice.append(task_id)
        outcome.retried += task["attempts"] > 1
        routes[(task["decision"] or {}).get("route") or "undecided"] += 1
        if task["status"] != "completed":
            outcome.failed.append(task_id)
            continue
        outcome.answered += 1
        outcome.correct += task["result"]["prediction"] == label
        spans.append((datetime.fromisoformat(task["created_at"]), datetime.fromisoformat(task["finished_at"])))
    outcome.routes = dict(routes)
    if spans:
        latencies = [(end - begun).total_seconds() * 1000 for begun, end in spans]
        outcome.p50_ms, outcome.p99_ms = (round(float(p), 2) for p in np.percentile(latencies, [50, 99]))
        outcome.seconds = (max(end for _, end in spans) - min(begun for begun, _ in spans)).total_seconds()
