"""Drives `make demo-memory`: two markets whose prices change their form, one after the other."""

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from examples.api import Api, JobError
from examples.memory_story import MemoryStory, Occurrence

SKILL = "shop.price"
RULE = "valve_open"
BATCH = 100
LEAST_NORMAL = 1_000
"""Tasks that a valve learns from."""

MOST_NORMAL, MOST_UNNOTICED, MOST_ESCALATED = 6_000, 2_000, 40
PAUSE_S = 0.25
ENDED = frozenset({"completed", "failed", "cancelled"})


class MemoryDemo:
    """One run.

    Args:
        api: of the SeedCore.
        say: called with each thing that happens.
        seed: of the prices.
    """

    def __init__(self, api: Api, say: Callable[[str], None], seed: int = 0) -> None:
        self._api, self._say, self._random = api, say, random.Random(seed)  # noqa: S311 - prices, no secrets
        self._run = uuid.uuid4().hex[:6]

    async def run(self) -> MemoryStory:
        """Both occurrences, and what was remembered of the first."""
        skills = {skill["name"] for skill in (await self._api.json("GET", "/api/v1/skills"))["items"]}
        if SKILL not in skills:
            raise JobError(f"it has no skill {SKILL}: start it with SEEDCORE_SKILLS=examples.price_skills")
        first = await self._occurrence(f"north-{self._run}")
        remembered = await self._until_remembered(first)
        second = await self._occurrence(f"south-{self._run}")
        return MemoryStory(first, second, remembered)

    async def _occurrence(self, market: str) -> Occurrence:
        await self._learn(market)
        self._say(f"{market}: its prices are written another way from now on")
        return await self._solve(market)

    async def _learn(self, market: str) -> None:
        """Read prices until the stream's valve knows what is normal."""
        sent = 0
        while sent < MOST_NORMAL:
            await self._batch(market, [self._price("{}.{:02}") for _ in range(BATCH)])
            sent += BATCH
            if sent >= LEAST_NORMAL and await self._valve(market) == "closed":
                self._say(f"{market}: {sent} prices were read; its valve is closed")
                return
            await asyncio.sleep(PAUSE_S)
        raise JobError(f"the valve of {market} is not calibrated after {sent} tasks")

    async def _solve(self, market: str) -> Occurrence:
        """Send changed prices, each when the one before it has ended, until one is read."""
        found, began = Occurrence(market), 0.0
        while found.unnoticed < MOST_UNNOTICED and found.tasks < MOST_ESCALATED:
            (task,) = await self._batch(market, [self._changed()])
            decision = task["decision"] or {}
            if decision.get("rule") not in (RULE, "escalation") and "move" not in decision:
                found.unnoticed += 1
                continue
            if not began:
                began = time.monotonic()
                self._say(f"{market}: its valve opened after {found.unnoticed} changed prices")
            found.tasks += 1
            steps = (await self._api.json("GET", f"/api/v1/tasks/{task['id']}/plan"))["steps"]
            ran = [(step["type"], step["status"] == "completed") for step in steps if step["status"] != "cancelled"]
            found.tried += ran or [(SKILL, task["status"] == "completed")]
            found.runs += len(ran) or 1
            if task["status"] == "approval":
                found.asked += 1
                await self._api.json("POST", f"/api/v1/tasks/{task['id']}/reject", {"reason": "the demo asks nobody"})
            if task["status"] == "completed":
                move = decision.get("move") or {}
                found.solved_by, found.memories = move.get("move"), len(move.get("memories") or ())
                found.reason, found.seconds = decision["reason"], time.monotonic() - began
                self._say(f"{market}: solved by {found.solved_by} after {found.runs} runs")
                return found
        return found

    async def _until_remembered(self, first: Occurrence) -> list[str]:
        """What memory holds of the move that helped, as soon as it does."""
        body = {"query": f"{SKILL} stopped looking like its past", "k": 20, "tags": ["move", f"skill:{SKILL}"]}
        async with asyncio.timeout(60):
            while True:
                items = (await self._api.json("POST", "/api/v1/memory/search", body))["items"]
                texts = [item["text"] for item in items if first.market in item["text"]]
                if any(f"{first.solved_by} helped" in text for text in texts):
                    self._say(f"memory holds {len(texts)} texts about it")
                    return texts
                await asyncio.sleep(PAUSE_S)

    def _price(self, form: str) -> str:
        return form.format(self._random.randint(1, 999), self._random.randint(0, 99))

    def _changed(self) -> str:
        whole = f"{self._random.randint(1, 999)}.{self._random.randint(100, 999)}.{self._random.randint(100, 999)}"
        return f"{whole},{self._random.randint(0, 99):02}"

    async def _batch(self, market: str, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Submit prices, and wait until each has ended or waits for a person."""
        tasks = [
            {"type": SKILL, "domain": market, "params": {"text": text}, "idempotency_key": uuid.uuid4().hex}
            for text in texts
        ]
        ids = (await self._api.json("POST", "/api/v1/tasks/batch", {"tasks": tasks}))["ids"]
        return [await self._ended(task_id) for task_id in ids]

    async def _ended(self, task_id: str) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while True:
                task: dict[str, Any] = await self._api.json("GET", f"/api/v1/tasks/{task_id}")
                if task["status"] in ENDED or task["status"] == "approval":
                    return task
                await asyncio.sleep(0.02)

    async def _valve(self, market: str) -> str:
        """The state of the stream's work."""
        streams = (await self._api.json("GET", "/pipeline/valve"))["streams"]
        return next((str(s["work"]["state"]) for s in streams if s["stream"] == f"{market}/{SKILL}"), "unwatched")
