import asyncio
import threading

import httpx
import pytest

from seedcore.cognitive.engines.offline import offline_engine as module
from seedcore.cognitive.service import CognitiveService
from seedcore.errors import NoPlanError
from seedcore.schemas.cognitive.planning import PlanTaskRequest
from seedcore.service_clients.cognitive_client import CognitiveClient
from seedcore.settings import Settings, load_settings
from seedcore.tasks.plans.plan import PlanDefinition, Step, validate_plan
from tests.service_clients.local_handle import LocalHandle


@pytest.fixture
async def service(settings: Settings) -> CognitiveService:
    made = CognitiveService({}, settings, background=False)
    await made.start()
    return made


@pytest.fixture
async def http(service: CognitiveService) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(service.build_app()), base_url="http://test")


async def test_the_built_in_skills_chain_from_a_url_to_a_summary_and_keywords(http, service):
    asked = {"goal": ["summary", "keywords"], "inputs": {"url": "https://example.org/", "limit": 5}}
    answer = await http.post("/plan-task", json=asked)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [s["skill"] for s in body["steps"]] == ["http.fetch", "text.keywords", "text.summarize"]
    assert [s["needs"] for s in body["steps"]] == [[], ["s1"], ["s1"]]
    assert body["steps"][1]["params"]["limit"] == {"$from": "inputs", "field": "limit"}
    assert (body["method"], body["cost"]) == ("search", 3)
    steps = tuple(Step(s["id"], s["skill"], s["params"], tuple(s["needs"])) for s in body["steps"])
    validate_plan(PlanDefinition(steps, body["output"], asked["inputs"]), service._skills)


async def test_a_prediction_can_be_planned(http):
    asked = {"goal": "prediction", "inputs": {"name": "m", "features": {"x": 1.5}}}
    body = (await http.post("/plan-task", json=asked)).json()
    assert [s["skill"] for s in body["steps"]] == ["ml.predict"]
    assert set(body["steps"][0]["params"]) == {"name", "features"}


async def test_no_plan_is_a_problem_document(http):
    answer = await http.post("/plan-task", json={"goal": "summary", "inputs": {}})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["code"], body["missing"]) == ("no_plan", ["text", "url"])
    assert "summary" in body["known"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "goal"),
        ({"goal": "  "}, "goal"),
        ({"goal": []}, "goal"),
        ({"goal": "summary", "inputs": []}, "inputs"),
        ({"goal": "summary", "max_steps": 0}, "max_steps"),
        ({"goal": "summary", "inputs": {"text": "a"}, "max_steps": 9999}, "max_steps"),
        ({"goal": "summary", "task": {}}, "task"),
    ],
)
async def test_bad_input_names_the_field(http, body, field):
    answer = await http.post("/plan-task", json=body)
    assert answer.status_code == 422
    assert any(e["field"].startswith(field) for e in answer.json()["errors"])


async def test_a_goal_in_free_text_without_a_language_model_says_what_to_set(http):
    answer = await http.post("/plan-task", json={"goal": "Summarise this page, please", "inputs": {"text": "a"}})
    assert answer.status_code == 422
    body = answer.json()
    assert body["code"] == "llm_not_configured"
    assert body["errors"][0]["field"] == "goal"
    assert "LLM_PROVIDER" in body["detail"]


async def test_asking_for_the_model_where_there_is_none_is_refused(http):
    answer = await http.post("/plan-task", json={"goal": "keywords", "inputs": {"text": "a"}, "engine": "llm"})
    assert (answer.status_code, answer.json()["code"]) == (422, "llm_not_configured")
    assert answer.json()["errors"][0]["field"] == "engine"


async def test_answers_say_which_engine_gave_them(http):
    body = (await http.post("/plan-task", json={"goal": "keywords", "inputs": {"text": "a"}})).json()
    assert (body["engine"], body["evidence"], body["fallback"]) == ("offline", [], None)
    options = [{"name": "wait", "cost": 1}, {"name": "act", "losses": {"chance": 3}}]
    body = (await http.post("/make-decision", json={"options": options, "beliefs": {"chance": 1}})).json()
    assert (body["engine"], body["decision"]) == ("offline", "wait")
    assert body["evidence"][0]["numbers"] == {"belief": 1}


async def test_equal_goals_from_inputs_of_the_same_types_are_searched_for_once(service, monkeypatch):
    searches, real = [], module.find_plan

    def counted(*args, **named):
        searches.append(args)
        return real(*args, **named)

    monkeypatch.setattr(module, "find_plan", counted)

    async def ask(goal, **inputs):
        return await service.plan_task(PlanTaskRequest(goal=goal, inputs=inputs))

    first, *others = await asyncio.gather(*[ask("summary", text=text) for text in ("a", "b", "\ud800")])
    assert others == [first, first]
    assert len(searches) == 1
    assert service._working.health()["shared_flights"] == 2
    await ask("summary", text="a", limit=3)
    await ask("keywords", text="a")
    assert len(searches) == 3
    for _ in range(2):
        with pytest.raises(NoPlanError):
            await ask("summary")
    assert len(searches) == 5, "what failed is not kept"


async def test_too_many_plans_at_once_are_refused_with_a_retry_time(settings, monkeypatch):
    service = CognitiveService(
        {}, load_settings(data_dir=settings.data_dir, cognitive_max_inflight=1), background=False
    )
    await service.start()
    http = httpx.AsyncClient(transport=httpx.ASGITransport(service.build_app()), base_url="http://test")
    begun, go, real = threading.Event(), threading.Event(), module.find_plan

    def slow(*args, **named):
        begun.set()
        go.wait(5)
        return real(*args, **named)

    monkeypatch.setattr(module, "find_plan", slow)
    asked = {"goal": "summary", "inputs": {"text": "a"}}
    first = asyncio.create_task(http.post("/plan-task", json=asked))
    await asyncio.to_thread(begun.wait, 5)
    second = await http.post("/plan-task", json={"goal": "keywords", "inputs": {"text": "a"}})
    go.set()
    assert second.status_code == 429
    assert second.headers["retry-after"] == "1"
    assert (await first).status_code == 200
    assert (await http.post("/plan-task", json=asked)).status_code == 200


async def test_health_is_ready_once_the_skills_are_known(settings):
    service = CognitiveService({}, settings, background=False)
    http = httpx.AsyncClient(transport=httpx.ASGITransport(service.build_app()), base_url="http://test")
    assert (await http.get("/health")).status_code == 503
    await service.start()
    answer = await http.get("/health")
    assert answer.status_code == 200
    assert answer.json()["skills"] >= 5


async def test_the_client_speaks_the_services_shapes(service):
    client = CognitiveClient(service.settings)
    client._handle = LocalHandle(service)
    plan = await client.plan_task("keywords", {"text": "abc"})
    assert [step.skill for step in plan.steps] == ["text.keywords"]
    with pytest.raises(NoPlanError):
        await client.plan_task(["keywords"], {})
