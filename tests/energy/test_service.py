"""The Energy service: what it prices, and where the state came from."""

from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from seedcore.energy.fleet_facts import FleetFacts
from seedcore.energy.service import EnergyService
from seedcore.errors import InvalidInputError, UnavailableError
from seedcore.schemas.energy import ComputeEnergy, ComputeGradient, Pair
from seedcore.service_clients.service_client import TransportCounts
from seedcore.settings import Settings, load_settings
from seedcore.web.service_base import parse

AGENTS = {
    "a": {"queued_s": 3.0, "running": 2, "completed": 3, "failed": 1, "organ": "x", "rates": {}},
    "b": {"queued_s": 4.0},
}


class FakeState:
    """A State client that tells what a test put there."""

    def __init__(self) -> None:
        self.counts = TransportCounts(fallbacks=3)
        self.answer: Any = {"agents": AGENTS}

    async def unified_state(self, **_filters: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def aclose(self) -> None:
        return None


class FakeRepository:
    """Tables that nobody has written to."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    async def v(self) -> tuple[float, str]:
        return self.settings.energy_v, "setting"

    async def ready(self) -> dict[str, bool]:
        return {"ready": True}

    async def fleet_facts(self) -> FleetFacts:
        return self.found

    def flywheel_status(self) -> dict[str, Any]:
        return {"period_s": 600.0, "failing": None}

    found = FleetFacts(absent={"drift": "no valve", "collaboration": "no plan"})


async def started(settings: Settings) -> EnergyService:
    made = EnergyService({}, settings)
    await made.start()
    await made.stop()
    made._state, made._repository = FakeState(), FakeRepository(settings)
    return made


@pytest.fixture
async def service(settings: Settings) -> EnergyService:
    return await started(settings)


@pytest.fixture
def http(service: EnergyService) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(service.build_app()), base_url="http://test")


def asked(**fields: Any) -> ComputeEnergy:
    return parse(ComputeEnergy, fields)


async def test_a_given_state_is_priced_and_the_terms_sum_to_the_energy(service: EnergyService):
    found = await service.compute_energy(asked(unified_state={"agents": AGENTS}))
    assert found.breakdown == {"load": 12.5, "cost": 0.5}
    assert (found.energy, found.source, found.agents, found.v) == (13.0, "given", 2, 1.0)


async def test_without_a_state_the_live_one_is_priced(service: EnergyService):
    found = await service.compute_energy(asked())
    assert (found.energy, found.source) == (13.0, "live")


async def test_the_live_state_has_evidence_and_plans_or_the_reason_why_not(service: EnergyService):
    found = await service.compute_energy(asked())
    assert (found.absent["drift"], found.absent["collaboration"]) == ("no valve", "no plan")
    pair = Pair(agents=("a", "b"), steps=4, success=0.75)
    service._repository.found = FleetFacts({"x": 0.5, "y": 1.0}, {"x": 0.5, "y": 0.25}, [pair])
    told = await service.compute_energy(asked())
    assert told.breakdown is not None
    assert (told.breakdown["drift"], told.breakdown["collaboration"]) == (0.5, 1.0)
    assert not {"drift", "collaboration"} & told.absent.keys()
    slopes = await service.compute_gradient(parse(ComputeGradient, {}))
    assert slopes.drift == {"x": 0.5, "y": 0.25}


async def test_traffic_must_name_every_stream_of_drift(http: httpx.AsyncClient):
    state = {"agents": {}, "drift": {"x": 0.5, "y": 0.5}, "traffic": {"x": 1.0}}
    answer = await http.post("/compute-energy", json={"unified_state": state})
    assert (answer.status_code, "'y'" in answer.json()["detail"]) == (422, True)


async def test_the_breakdown_is_left_out_when_it_is_not_wanted(service: EnergyService):
    assert (await service.compute_energy(asked(include_breakdown=False))).breakdown is None


async def test_v_weighs_the_cost(settings: Settings):
    service = await started(load_settings(data_dir=settings.data_dir, energy_v=10))
    found = await service.compute_energy(asked(unified_state={"agents": AGENTS}))
    assert found.breakdown == {"load": 12.5, "cost": 5.0}


async def test_an_empty_fleet_has_no_energy(service: EnergyService):
    assert (await service.compute_energy(asked(unified_state={"agents": {}}))).energy == 0


@pytest.mark.parametrize(
    ("state", "field"),
    [
        ({"agents": {"a": {"queued_s": -1}}}, "unified_state.agents.a.queued_s"),
        ({"agents": {"a": {"queued_s": 1e300}}}, "unified_state.agents.a.queued_s"),
        ({"agents": {"a": {"queued_s": 1, "running": 10**400}}}, "unified_state.agents.a.running"),
        ({"agents": {"a": {"queued_s": 1, "failed": -1}}}, "unified_state.agents.a.failed"),
        ({"agents": {"a": {}}}, "unified_state.agents.a.queued_s"),
        ({}, "unified_state.agents"),
    ],
)
async def test_a_state_that_cannot_be_priced_is_422_and_names_the_field(
    http: httpx.AsyncClient, state: Any, field: str
):
    answer = await http.post("/compute-energy", json={"unified_state": state})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    st.dictionaries(
        st.text(max_size=4),
        st.fixed_dictionaries(
            {"queued_s": st.floats()},
            optional={name: st.integers() for name in ("running", "completed", "failed")},
        ),
        max_size=6,
    )
)
async def test_whatever_is_priced_is_finite_and_sums_up(service: EnergyService, agents: dict[str, Any]):
    try:
        request = asked(unified_state={"agents": agents})
    except InvalidInputError:
        return
    found = await service.compute_energy(request)
    assert found.breakdown is not None
    assert 0 <= found.energy < float("inf")
    assert sum(found.breakdown.values()) == pytest.approx(found.energy)


WHOLE = {
    "agents": {"a": {"queued_s": 3.0, "running": 0, "roles": {"reader": 0.75, "writer": 0.25}}, "b": {"queued_s": 4.0}},
    "memory": {"flashbulbs": 3, "working": {"bytes": 50, "max_bytes": 100, "kind": "redis", "entries": 1}},
    "collaboration": [{"agents": ["a", "b"], "steps": 2, "success": 0.5}],
    "drift": {"default/echo": 0.25},
}


async def test_terms_without_inputs_are_absent_and_the_answer_says_why(service: EnergyService):
    found = await service.compute_energy(asked(unified_state={"agents": {"a": {"queued_s": 1}}}))
    assert found.breakdown == {"load": 0.5}
    assert set(found.absent) == {"cost", "collaboration", "roles", "memory", "drift"}
    assert all(found.absent.values())
    away = {"agents": {}, "memory": {"absent": {"working": "Redis did not answer"}}}
    assert (await service.compute_energy(asked(unified_state=away))).absent["memory"] == "Redis did not answer"
    whole = await service.compute_energy(asked(unified_state=WHOLE, weights={"drift": 4}))
    assert whole.absent == {}
    assert whole.breakdown is not None
    assert whole.breakdown["drift"] == 1.0
    assert set(whole.breakdown) == {"load", "cost", "collaboration", "roles", "memory", "drift"}


async def test_the_gradient_is_named_and_says_of_which_state_it_is(http: httpx.AsyncClient):
    given = (await http.post("/gradient", json={"unified_state": WHOLE, "weights": {"v": 10}})).json()
    assert given["queued_s"] == {"a": 3.0, "b": 4.0}
    assert given["expected_failure"] == {"a": 10.0, "b": 10.0}
    assert (given["shared"], given["together"]) == ([5.0], [-20.0])
    assert given["roles"]["a"]["reader"] > given["roles"]["a"]["writer"]
    assert (given["memory"], given["drift"]) == ({"working": 0.5}, {"default/echo": 1.0})
    assert (given["source"], given["absent"]) == ("given", {})
    live = (await http.post("/gradient", json={})).json()
    assert (live["source"], live["queued_s"], live["memory"]) == ("live", {"a": 3.0, "b": 4.0}, None)
    assert "memory" in live["absent"]


async def test_moves_that_would_lower_the_energy_are_proposed_within_organs(http: httpx.AsyncClient):
    agents = {
        "a": {"queued_s": 4.0, "running": 4, "organ": "x"},
        "b": {"queued_s": 0.0, "running": 0, "organ": "x"},
        "c": {"queued_s": 0.0, "running": 0, "organ": "y"},
    }
    found = (await http.post("/optimize-agents", json={"unified_state": {"agents": agents}})).json()
    assert [(move["source"], move["target"]) for move in found["moves"]] == [("a", "b")] * 2
    assert [move["delta_energy"] for move in found["moves"]] == [-3.0, -1.0]
    assert found["organs"]["x"] == {
        "agents": 2,
        "energy": 8.0,
        "balanced": 4.0,
        "one_more_agent": pytest.approx(-4 / 3),
    }
    assert (found["delta_energy"], found["source"]) == (-4.0, "given")
    few = await http.post("/optimize-agents", json={"unified_state": {"agents": agents}, "organ": "y"})
    assert few.json()["moves"] == []


async def test_roles_that_do_not_sum_to_1_are_refused(http: httpx.AsyncClient):
    state = {"agents": {"a": {"queued_s": 1, "roles": {"x": 0.5, "y": 0.4}}}}
    answer = await http.post("/gradient", json={"unified_state": state})
    assert answer.status_code == 422
    assert "a.roles" in answer.json()["detail"]


async def test_when_state_is_away_the_live_energy_is_an_error_not_a_number(
    service: EnergyService, http: httpx.AsyncClient
):
    service._state.answer = UnavailableError("state does not answer")
    answer = await http.post("/compute-energy", json={})
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    health = await http.get("/health")
    assert health.status_code == 503
    assert health.json()["state"] == {"ready": False, "reason": "state does not answer", "http_fallbacks": 3}


async def test_health_is_ready_with_state_and_reports_fallbacks(http: httpx.AsyncClient):
    answer = await http.get("/health")
    assert answer.status_code == 200
    assert answer.json()["state"] == {"ready": True, "http_fallbacks": 3}
