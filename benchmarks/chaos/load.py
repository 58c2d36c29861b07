"""The client: submits over HTTP at a steady rate, and sends again under the same keys until it is answered."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from benchmarks.chaos import skills
from benchmarks.chaos.evidence import Evidence, Shown
from benchmarks.chaos.plan import MAX_RUNNING, Task, batches

SENDERS = 4
TIMEOUT_S = 6.0
AGAIN = 0.05
"""This share of the batches is sent once more after its answer, by a client that is not sure."""


class Load:
    """Submits the tasks of a seed; what it is told goes into `evidence`."""

    def __init__(self, client: httpx.AsyncClient, seed: int, count: int, rate: float, evidence: Evidence) -> None:
        self._client = client
        self._seed, self._count, self._rate = seed, count, rate
        self._chance = random.Random(f"load {seed}")
        self._evidence = evidence
        self._left: asyncio.Queue[list[Task]] = asyncio.Queue()
        self.repeated = 0

    async def run(self) -> None:
        """Submit everything; a batch that is late does not hold up the others."""
        async with asyncio.TaskGroup() as group:
            senders = [group.create_task(self._send_all()) for _ in range(SENDERS)]
            began, due = time.monotonic(), 0
            for batch in batches(self._seed, self._count):
                await asyncio.sleep(max(0.0, began + due / self._rate - time.monotonic()))
                self._evidence.asked.update({task.key: task for task in batch})
                self._left.put_nowait(batch)
                due += len(batch)
            await self._left.join()
            for sender in senders:
                sender.cancel()

    async def _send_all(self) -> None:
        while True:
            batch = await self._left.get()
            await self.submit(batch)
            if self._chance.random() < AGAIN:
                await self.submit(batch)
            self._left.task_done()

    async def submit(self, batch: Sequence[Task]) -> None:
        """Send a batch until it is acknowledged or refused for good."""
        body = json.dumps({"tasks": [_body(task) for task in batch]})
        while True:
            try:
                answer = await self._client.post("/api/v1/tasks/batch", content=body, headers=_JSON)
                if answer.status_code < 500 and answer.status_code not in (404, 408, 429):
                    break
            except httpx.HTTPError:
                self.repeated += 1
            else:
                self.repeated += 1
            await asyncio.sleep(0.1 + 0.2 * self._chance.random())
        if answer.status_code != 201:
            self._evidence.refused_keys.update({t.key: f"{answer.status_code}: {answer.text[:300]}" for t in batch})
            return
        for task, task_id in zip(batch, answer.json()["ids"], strict=True):
            first = self._evidence.acked.setdefault(task.key, task_id)
            if first != task_id:
                self._evidence.told_apart.append((task.key, first, task_id))

    async def probe(self, key: str, deadline: float) -> float | None:
        """Submit one no-op and wait for its completion; returns when that was seen, None: not before `deadline`."""
        task = Task(key, 0, 0)
        self._evidence.asked[key] = task
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self.submit([task])
                while key in self._evidence.acked:
                    if await self._completed(self._evidence.acked[key]):
                        return time.time()
                    await asyncio.sleep(0.03)
        return None

    async def _completed(self, task_id: str) -> bool:
        try:
            answer = await self._client.get(f"/api/v1/tasks/{task_id}")
        except httpx.HTTPError:
            return False
        return answer.status_code == 200 and answer.json()["status"] == "completed"

    async def idle(self) -> bool:
        """Whether nothing waits or runs, as `GET /queue` tells."""
        try:
            answer = await self._client.get("/api/v1/queue")
            answer.raise_for_status()
        except httpx.HTTPError:
            return False
        state = answer.json()
        waits = sum(q["ready"] + q["deferred"] + q["gated"] for q in state["queues"].values())
        return not waits and not state["running"]

    async def list_all(self) -> dict[str, Shown]:
        """Every task of the skills, page after page."""
        found: dict[str, Shown] = {}
        for name in skills.NAMES:
            query: dict[str, str] = {"type": name, "limit": "500"}
            while True:
                answer = await self._client.get("/api/v1/tasks", params=query, timeout=30)
                page = answer.raise_for_status().json()
                found |= {task["id"]: shown(task) for task in page["items"]}
                if page["next_cursor"] is None:
                    break
                query["cursor"] = page["next_cursor"]
        return found


_JSON = {"Content-Type": "application/json"}


def _body(task: Task) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": skills.APART if task.apart else skills.NAME,
        "params": {"n": task.n, "sleep_ms": task.sleep_ms},
        "idempotency_key": task.key,
        "queue": task.queue,
        "max_attempts": task.max_attempts,
    }
    if task.limit:
        body["limit"] = {"key": task.limit, "max_running": MAX_RUNNING}
    if task.delay_s:
        body["run_after"] = (datetime.now(UTC) + timedelta(seconds=task.delay_s)).isoformat()
    return body


def shown(task: dict[str, Any]) -> Shown:
    """A task as the public API writes it."""
    result = task["result"] or {}
    return Shown(
        status=task["status"],
        attempts=task["attempts"],
        max_attempts=task["max_attempts"],
        key=task["idempotency_key"],
        created=datetime.fromisoformat(task["created_at"]).timestamp(),
        finished=datetime.fromisoformat(task["finished_at"]).timestamp() if task["finished_at"] else None,
        run=result.get("run"),
        run_token=result.get("token"),
        code=task["error"]["code"] if task["error"] else None,
    )
