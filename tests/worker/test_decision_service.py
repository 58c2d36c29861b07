"""What a dispatcher relies on of decisions; the scripted twin and the Coordinator's own service behave alike.

The real one is the adapter of the Ray side, whose calls reach the Coordinator's application in this process.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from seedcore.coordinator.service import CoordinatorService
from seedcore.errors import SeedCoreError, UnavailableError
from seedcore.service_clients.organism_client import OrganismClient
from seedcore.settings import Settings
from seedcore.tasks.model import Lease
from seedcore.worker.actors.ray_adapters import CoordinatorDecisions
from seedcore.worker.ports import DecisionService, Feedback, RouteDecision
from tests.worker.conftest import POSTGRES
from tests.worker.twins.decision_service import ScriptedDecisionService

POLICY = """
rules:
  - {name: loud, when: task.priority > 5 && !task.approved, route: hold, reason: too loud}
"""
ORGAN = {"agents": ["a-0"], "hosts": ["h"], "host": [0], "scouts": [], "archived": []}
TABLE = {"epoch": 1, "skills": {"echo": "utility"}, "timeouts": {"echo": 7.0}, "organs": {"utility": ORGAN}}


@dataclass
class Service:
    """A decision service, and how it becomes unavailable."""

    decisions: DecisionService
    go_away: Callable[[], None]


@pytest.fixture(params=["scripted", POSTGRES])
def service(request: pytest.FixtureRequest) -> Service:
    if request.param == "scripted":
        twin = ScriptedDecisionService(scripted, refuses=lambda task: len(task.domain or "") > 200)

        def go_away() -> None:
            twin.error = UnavailableError("the Coordinator is away")

        return Service(twin, go_away)
    real: Service = request.getfixturevalue("coordinator")
    return real


def scripted(task: Lease) -> RouteDecision:
    if task.type != "echo":
        return RouteDecision("reject", "unknown_skill", "no such skill")
    if task.priority > 5 and not task.approved:
        return RouteDecision("hold", "loud", "too loud")
    return RouteDecision("fast", "known_skill", "known", agent="a-0", host="h", delta_energy=0.5, timeout_s=7.0)


@pytest.fixture
async def coordinator(pg_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    async def fleet(_client: OrganismClient, _epoch: int | None) -> dict[str, Any]:
        return TABLE

    monkeypatch.setattr(OrganismClient, "fleet", fleet)
    (tmp_path / "policy.yaml").write_text(POLICY)
    made = CoordinatorService({}, pg_settings.model_copy(update={"policy_path": tmp_path / "policy.yaml"}))
    await made.start()
    decisions = CoordinatorDecisions(pg_settings, "test")
    client = decisions.coordinator
    monkeypatch.setattr(client, "prefix", "", raising=False)
    client._http = httpx.AsyncClient(transport=httpx.ASGITransport(made.build_app()), base_url="http://coordinator")

    def go_away() -> None:
        def refuse(_request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("refused")

        client._http = httpx.AsyncClient(transport=httpx.MockTransport(refuse), base_url="http://coordinator")

    yield Service(decisions, go_away)
    await client.aclose()
    await made.stop()


def lease(**changed: Any) -> Lease:
    fields: dict[str, Any] = {"id": uuid4(), "token": 1, "attempt": 1, "type": "echo", "params": '{"value": 1}'}
    fields |= dict.fromkeys(("bindings", "domain", "timeout_s", "limit_key", "idempotency_key", "parent_id"))
    fields |= {"queue": "default", "slow": False, "priority": 0, "max_attempts": 5, "approved": False, "seq": 1}
    return Lease(**(fields | {"created_at": datetime.now(UTC)} | changed))


async def test_each_task_gets_its_own_decision_in_order(service: Service):
    tasks = [lease(), lease(priority=9), lease(type="no.such"), lease()]
    decisions = await service.decisions.decide(tasks, Feedback())
    assert [d.route for d in decisions] == ["fast", "hold", "reject", "fast"]
    assert [d.rule for d in decisions[1:3]] == ["loud", "unknown_skill"]


async def test_a_fast_decision_names_agent_host_price_and_the_skills_own_timeout(service: Service):
    (decision,) = await service.decisions.decide([lease()], Feedback())
    assert (decision.agent, decision.host, decision.timeout_s) == ("a-0", "h", 7.0)
    assert decision.delta_energy is not None
    assert decision.record()["agent"] == "a-0"


async def test_a_task_that_a_person_released_is_not_held_again(service: Service):
    (decision,) = await service.decisions.decide([lease(priority=9, approved=True)], Feedback())
    assert decision.route == "fast"


async def test_a_question_without_tasks_reports_alone(service: Service):
    feedback = Feedback(outstanding={("a-0", "echo"): 2}, outcomes={("a-0", "echo"): (3, 1.5, 3)}, question=1)
    assert await service.decisions.decide([], feedback) == []


async def test_a_task_that_cannot_be_read_is_refused_for_good(service: Service):
    with pytest.raises(SeedCoreError) as refused:
        await service.decisions.decide([lease(), lease(domain="d" * 201)], Feedback())
    assert not refused.value.transient


async def test_a_service_that_is_away_raises_an_error_that_may_pass(service: Service):
    service.go_away()
    with pytest.raises(SeedCoreError) as away:
        await service.decisions.decide([lease()], Feedback())
    assert away.value.transient
