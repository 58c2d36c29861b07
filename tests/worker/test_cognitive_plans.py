"""How long a worker waits for the plans that the Cognitive service makes."""

from uuid import uuid4

import pytest

from seedcore.schemas.cognitive.planning import PlanTaskResponse
from seedcore.service_clients.cognitive_client import CognitiveClient
from seedcore.settings import load_settings
from seedcore.worker.actors.ray_adapters import CognitivePlans
from seedcore.worker.planning.move_json import EscalatedTask
from seedcore.worker.ports import PlanRequest

ESCALATED = EscalatedTask("echo", "valve_open", "it changed", 0.9, "default", uuid4())


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []

    async def plan_task(self: CognitiveClient, *_: object, **__: object) -> PlanTaskResponse:
        found.append(self.timeout_s)
        return PlanTaskResponse(steps=[], output={}, cost=0, explored=0)

    monkeypatch.setattr(CognitiveClient, "plan_task", plan_task)
    return found


async def test_a_goal_may_take_as_long_as_the_language_model_and_the_offline_engine_after_it(waits: list[float]):
    settings = load_settings(llm_provider="vllm", llm_upstream_url="http://127.0.0.1:9/v1", cognitive_llm_timeout_s=30)
    plans = CognitivePlans(settings)
    await plans.plan(PlanRequest("read the page", {}, 16))
    await plans.plan(PlanRequest("echo", {}, 16, escalation=ESCALATED))
    search_s = settings.cognitive_timeout_s + 5
    assert waits == [search_s + 30, search_s]


async def test_without_a_language_model_no_goal_takes_longer_than_the_search(waits: list[float]):
    settings = load_settings(llm_provider="none")
    await CognitivePlans(settings).plan(PlanRequest("echo", {}, 16))
    assert waits == [settings.cognitive_timeout_s + 5]
