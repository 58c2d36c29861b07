"""Problems, memory and capability gaps without a language model, from a real database."""

from collections.abc import AsyncIterator

import httpx
import pytest

from seedcore.cognitive.service import CognitiveService
from seedcore.memory.long_term.items import NewMemory
from seedcore.memory.long_term.store import MemoryStore
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.tasks.model import new_id

pytestmark = pytest.mark.integration


@pytest.fixture
async def service(pg_settings: Settings) -> AsyncIterator[CognitiveService]:
    made = CognitiveService({}, pg_settings, background=False)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def http(service: CognitiveService) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(service.build_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def remember(settings: Settings, *texts: str, tenant: str = "default") -> list[str]:
    database = Database(settings)
    found = await MemoryStore(database, None).remember([NewMemory(text, tenant=tenant) for text in texts])
    await database.aclose()
    return [str(each) for each in found]


async def test_memory_is_synthesised_and_cited_within_a_tenant(http, pg_settings: Settings):
    one, two = await remember(pg_settings, "The turbine tripped at noon.", "After the turbine tripped, oil was low.")
    await remember(pg_settings, "The turbine of another tenant.", tenant="acme")
    body = (await http.post("/synthesize-memory", json={"query": "turbine tripped"})).json()
    assert (body["engine"], body["read"]) == ("offline", 2)
    assert {cite for statement in body["statements"] for cite in statement["cites"]} == {one, two}
    assert {item["id"] for item in body["evidence"]} == {one, two}
    empty = (await http.post("/synthesize-memory", json={"query": "zebra crossing"})).json()
    assert (empty["statements"], empty["read"]) == ([], 0)


async def test_a_problem_is_planned_for_by_the_names_in_it(http):
    asked = {"problem": "Please summarise the page and find its keywords.", "inputs": {"url": "https://example.org/"}}
    body = (await http.post("/solve-problem", json=asked)).json()
    assert (body["engine"], body["understood"]) == ("offline", ["text.summarize", "text.keywords"])
    assert [step["skill"] for step in body["plan"]["steps"]] == ["http.fetch", "text.keywords", "text.summarize"]
    lacking = (await http.post("/solve-problem", json={"problem": "Summarise it."})).json()
    assert lacking["plan"] is None
    assert set(lacking["missing"]) == {"inputs.text", "inputs.url"}
    answer = await http.post("/solve-problem", json={"problem": "Paint the fence."})
    assert (answer.status_code, answer.json()["code"]) == (422, "no_plan")


async def test_gaps_come_from_how_tasks_ended(http, pg_settings: Settings):
    database = Database(pg_settings)

    async def ended(type_: str, code: str | None, count: int, params: str = "{}") -> None:
        ids = [new_id() for _ in range(count)]
        async with database.connection() as connection:
            await connection.execute(
                "insert into seedcore.tasks (id, type, params, max_attempts)"
                " select i, $2, $3, 3 from unnest($1::uuid[]) i",
                ids, type_, params,
            )  # fmt: skip
            if code is None:
                sql = "insert into seedcore.finished (id, tick, status, attempts) select i, 1, 'completed', 1"
                await connection.execute(f"{sql} from unnest($1::uuid[]) i", ids)
            else:
                sql = "insert into seedcore.dead (id, tick, attempts, error_code) select i, 1, 1, $2"
                await connection.execute(f"{sql} from unnest($1::uuid[]) i", ids, code)

    await ended("no.such", "policy_rejected", 7)
    await ended("http.fetch", "skill_failed", 30)
    await ended("http.fetch", None, 20)
    await ended("echo", None, 50)
    await ended("echo", "skill_failed", 1)
    await ended("goal", "no_plan", 4, '{"goal": "summary", "inputs": {"name": "x"}}')
    await ended("goal", "no_plan", 2, '{"goal": "summary", "inputs": {"text": "x"}}')
    await database.aclose()
    body = (await http.post("/assess-capabilities", json={})).json()
    assert (body["engine"], body["tasks"]) == ("offline", 114)
    gaps = {(gap["kind"], gap["name"]): gap for gap in body["gaps"]}
    assert gaps["rejected_type", "no.such"]["count"] == 7
    assert gaps["failing_skill", "http.fetch"]["numbers"]["codes"] == {"skill_failed": 30}
    assert ("failing_skill", "echo") not in gaps
    assert gaps["unreached_goal", "summary"]["count"] == 4, "what can be planned today is no gap"
    assert gaps["missing_field", "url"]["count"] == 4
    assert (await http.post("/assess-capabilities", json={"window_s": 1})).status_code == 422
