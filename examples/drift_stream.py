"""Drives `make demo-drift`: trains and promotes a first version, streams tasks and outcomes, and watches."""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from examples.api import Api, JobError
from examples.drift_digits import LABEL, DigitStream, Floats, turned
from examples.drift_story import AnsweredTask, Story

PREFIX = "drift-digits-"
ENDED = frozenset({"completed", "failed", "cancelled"})
TICK_S = 0.5
CONCURRENT = 8
PARAMS = {"num_boost_round": 60, "max_depth": 4}
OUTCOME_TRIES = 20


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """How the demo goes: tasks a second, tasks before the shift, tasks that the new version must answer."""

    rate: float = 25.0
    before: int = 300
    after: int = 300


@dataclass(slots=True)
class _SentTask:
    id: str
    number: int
    label: int
    shifted: bool
    tries: int = 0


class DriftDemo:
    """One run.

    Args:
        api: of the SeedCore.
        digits: the data.
        plan: how it goes.
        say: called with each thing that happens.
    """

    def __init__(self, api: Api, digits: DigitStream, plan: StreamPlan, say: Callable[[str], None]) -> None:
        self._api, self._digits, self._plan, self._say = api, digits, plan, say
        self.story = Story(model=f"{PREFIX}{uuid.uuid4().hex[:6]}")
        self._began = time.monotonic()
        self._waiting: list[_SentTask] = []
        self._untold: deque[_SentTask] = deque()

    async def run(self, deadline: float) -> Story:
        """The whole story, or what had happened of it when time was up."""
        await self._check_policy()
        await self._clean_up()
        await self._begin()
        rows, story, plan = self._digits.stream(), self.story, self._plan
        tick = time.monotonic()
        while time.monotonic() < deadline:
            if story.submitted >= plan.before and story.note_event("shift", story.submitted, self._now, "90 degrees"):
                self._say("the scanner turns by 90 degrees; nothing from here on is scripted")
            await self._send(rows)
            await self._collect()
            await self._tell()
            await self._watch()
            new = sum(one.version != story.first_version for one in story.answered)
            if "promotion" in story.events and new >= plan.after:
                break
            tick = max(tick + TICK_S, time.monotonic())
            await asyncio.sleep(tick - time.monotonic())
        await self._drain(deadline)
        story.seconds = self._now
        return story

    @property
    def _now(self) -> float:
        return time.monotonic() - self._began

    async def _check_policy(self) -> None:
        policy = await self._api.json("GET", "/pipeline/policy")
        actions = (policy.get("triage") or {}).get("actions") or {}
        if not any(pattern.startswith("drift-") for pattern in (actions.get("retrain") or {}).get("models", ())):
            raise JobError(
                f"The SeedCore at {self._api.base_url} runs with the policy {policy.get('source')!r}, which retrains "
                "no model called drift-*. Start it with SEEDCORE_POLICY_PATH=examples/drift_policy.yaml, or stop it "
                "(`make demo ARGS=--stop` if a demo started it) and let this demo start its own"
            )

    async def _clean_up(self) -> None:
        """Delete the models of earlier runs; one that the gate still watches stays until a later run."""
        for model in (await self._api.json("GET", "/ml/xgboost/list_models"))["models"]:
            if model["name"].startswith(PREFIX):
                try:
                    await self._api.json("DELETE", "/ml/xgboost/delete_model", {"name": model["name"], "force": True})
                except JobError as error:
                    self._say(f"{model['name']} of an earlier run stays: {error}")

    async def _begin(self) -> None:
        digits, story = self._digits, self.story
        rows = [[*map(float, row), label] for row, label in zip(digits.train_rows, digits.train_labels, strict=True)]
        body = {"name": story.model, "columns": [*digits.columns, LABEL], "rows": rows, "label_column": LABEL}
        trained = await self._api.json("POST", "/ml/xgboost/train", body | {"params": PARAMS})
        story.first_version = story.last_version = trained["version"]
        story.trained_accuracy = trained["metrics"]["accuracy"]
        promoted = await self._api.json(
            "POST", "/ml/xgboost/promote", {"name": story.model, "version": trained["version"], "reason": "the first"}
        )
        self._say(
            f"{story.model} version {trained['version']}: trained on {len(rows)} digits, "
            f"held-out accuracy {story.trained_accuracy:.3f}, {promoted['status']}"
        )
        async with asyncio.timeout(60):
            while (state := (await self._monitors()).get("inputs", {}).get("state", "none")) != "closed":
                if state in ("unwatched", "open"):
                    raise JobError(f"the monitor of the inputs is {state} before the first task")
                await asyncio.sleep(TICK_S)
        self._say("its inputs and losses are watched")

    async def _send(self, rows: Iterator[tuple[Floats, int]]) -> None:
        story, shifted = self.story, "shift" in self.story.events
        count = min(round(self._plan.rate * TICK_S), max(0, round(self._plan.rate * 8) - len(self._waiting)))
        if not shifted:
            count = min(count, self._plan.before - story.submitted)
        if count <= 0:
            return
        sent, tasks = [], []
        for _ in range(count):
            row, label = next(rows)
            shown = turned(row) if shifted else row
            params = {"name": story.model, "features": [float(value) for value in shown]}
            number = story.submitted + len(sent)
            tasks.append({"type": "ml.predict", "params": params, "idempotency_key": f"{story.model}-{number}"})
            sent.append(_SentTask("", number, label, shifted))
        answer = await self._api.json("POST", "/api/v1/tasks/batch", {"tasks": tasks})
        for one, task_id in zip(sent, answer["ids"], strict=True):
            one.id = str(task_id)
        story.submitted += len(sent)
        self._waiting += sent

    async def _collect(self) -> None:
        slots = asyncio.Semaphore(CONCURRENT)

        async def look(one: _SentTask) -> dict[str, Any]:
            async with slots:
                found: dict[str, Any] = await self._api.json("GET", f"/api/v1/tasks/{one.id}")
                return found

        # The oldest first, and no more than a few ticks' worth, so that one round stays short.
        asked = self._waiting[: round(self._plan.rate * 2)]
        tasks = await asyncio.gather(*(look(one) for one in asked))
        ended = set()
        for one, task in zip(asked, tasks, strict=True):
            if task["status"] not in ENDED:
                continue
            ended.add(one.id)
            if task["status"] != "completed":
                self.story.failed += 1
                self.story.notes.append(f"task {one.id}: {task.get('error')}"[:300])
                continue
            result = task["result"]
            right = result["prediction"] == one.label
            self.story.answered.append(AnsweredTask(one.number, one.shifted, result["model"]["version"], right))
            self._untold.append(one)
        self._waiting = [one for one in self._waiting if one.id not in ended]

    async def _tell(self) -> None:
        """Post what each answered digit really was; those whose prediction is not recorded yet come again."""
        telling = [self._untold.popleft() for _ in range(len(self._untold))]
        if not telling:
            return
        body = {"outcomes": [{"task_id": one.id, "label": one.label} for one in telling]}
        unknown = set((await self._api.json("POST", "/ml/outcomes", body))["unknown"])
        for one in telling:
            if one.id in unknown and one.tries < OUTCOME_TRIES:
                one.tries += 1
                self._untold.append(one)

    async def _monitors(self) -> dict[str, Any]:
        answer = await self._api.json("GET", f"/ml/xgboost/monitors?name={self.story.model}")
        return answer["models"][0] if answer["models"] else {}

    async def _watch(self) -> None:
        """Note what the service says of itself; the demo asks for nothing."""
        story = self.story
        monitors = await self._monitors()
        for name in ("inputs", "losses", "accuracy"):
            found = monitors.get(name) or {}
            if found.get("state") == "open":
                self._event("alarm", f"{name}: evidence {found.get('peak', found.get('evidence')):.2f}")
        for caused in monitors.get("caused") or ():
            if caused.get("action") == "retrain" and caused.get("task_id"):
                self._event("retraining", f"because of {caused['monitor']}")
        info = await self._api.json("GET", f"/ml/xgboost/model_info?name={story.model}")
        aliases = info.get("aliases") or {}
        candidate, champion = aliases.get("candidate"), aliases.get("champion")
        if candidate is not None or (champion is not None and champion != story.first_version):
            self._event("candidate", f"version {candidate or champion}")
        if champion is not None and champion != story.first_version:
            story.last_version = champion
            if "promotion" not in story.events:
                await self._note_promotion(champion)

    async def _note_promotion(self, version: int) -> None:
        found = await self._api.json("GET", f"/ml/xgboost/promotions?name={self.story.model}")
        chosen = [one for one in found["items"] if one["version"] == version and one["status"] == "promoted"]
        if chosen:
            self.story.promotion = chosen[0]
            self._event("promotion", f"version {version}{_proof(chosen[0])}")

    def _event(self, name: str, detail: str) -> None:
        if self.story.note_event(name, self.story.submitted, self._now, detail):
            self._say(f"after {self.story.submitted} tasks, {self._now:.0f} s: {name} ({detail})")

    async def _drain(self, deadline: float) -> None:
        while self._waiting and time.monotonic() < deadline:
            await self._collect()
            await asyncio.sleep(TICK_S / 5)
        await self._tell()
        self.story.failed += len(self._waiting)


def _proof(promotion: dict[str, Any]) -> str:
    """What the gate has shown, and how sure it is."""
    evidence = promotion.get("evidence") or {}
    gain = evidence.get("gain")
    if not gain:
        return ""
    return (
        f": {100 * gain['mean']:.0f} points better on {evidence['outcomes']} tasks, at least "
        f"{100 * gain['lower']:.0f}, with a chance of being wrong of {100 * gain['alpha']:g} % at most"
    )
