"""The flywheel: towards the budget, in small steps, within bounds; logged, and undone."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.energy.repository import EnergyRepository
from seedcore.energy.service import EnergyService
from seedcore.fleet import ledger_repository
from seedcore.fleet.flywheel import MAX_FACTOR, MAX_STEP, MIN_FACTOR, MIN_OUTCOMES, next_turn
from seedcore.fleet.ledger_repository import LedgerEntry
from seedcore.pricing.outcome_sums import Sums
from seedcore.settings import Settings


@given(st.floats(0, 1e3), st.floats(1e-4, 1), st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 1)), max_size=60))
def test_v_stays_within_its_bounds_and_moves_in_small_steps(
    setting: float, budget: float, turns: list[tuple[int, float]]
):
    v = setting
    for outcomes, share in turns:
        turn = next_turn(v, setting, budget, outcomes, int(outcomes * share))
        assert MIN_FACTOR * setting <= turn.v <= MAX_FACTOR * setting
        assert abs(turn.v - v) <= MAX_STEP * v + 1e-12
        if outcomes < MIN_OUTCOMES:
            assert turn.v == v
        elif int(outcomes * share) / outcomes > budget:
            assert turn.v >= v
        else:
            assert turn.v <= v
        v = turn.v


@pytest.fixture
async def http(pg_settings: Settings):
    service = EnergyService({}, pg_settings)
    app = service.build_app()
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        client.service = service
        yield client


async def told(http: httpx.AsyncClient, *entries: LedgerEntry) -> None:
    async with http.service._repository.database.connection() as connection:
        await ledger_repository.append(connection, entries)


async def test_a_turn_is_logged_takes_effect_and_is_undone(http: httpx.AsyncClient):
    turn = (await http.post("/flywheel/result", json={"outcomes": 1000, "failures": 100})).json()
    assert (turn["before"], turn["v"], turn["source"]) == (1.0, pytest.approx(1.1), "given")
    priced = await http.post("/compute-energy", json={"unified_state": {"agents": {}}})
    assert (priced.json()["v"], priced.json()["weights"]["v_source"]) == (pytest.approx(1.1), "flywheel")
    second = (await http.post("/flywheel/result", json={"outcomes": 1000, "failures": 100})).json()
    refused = await http.post("/flywheel/result", json={"undo": turn["id"]})
    assert (refused.status_code, str(second["id"]) in refused.json()["detail"]) == (409, True)
    undone = (await http.post("/flywheel/result", json={"undo": second["id"]})).json()
    assert undone["v"] == pytest.approx(1.1)
    changes = (await http.get("/metrics")).json()["changes"]
    assert [change["undoes"] for change in changes] == [second["id"], None, None]
    assert (await http.post("/flywheel/result", json={"undo": 10**6})).status_code == 404
    assert (await http.post("/flywheel/result", json={"outcomes": 5})).status_code == 422


async def test_without_given_outcomes_the_ledger_is_what_turns_it(http: httpx.AsyncClient):
    few = (await http.post("/flywheel/result", json={})).json()
    assert (few["id"], few["v"], few["source"]) == (None, 1.0, "ledger")
    assert "too few" in few["reason"]
    await told(http, LedgerEntry("o/echo", "energy", 1.0, Sums(outcomes=500, failures=250)))
    turn = (await http.post("/flywheel/result", json={})).json()
    assert turn["v"] > 1.0
    again = (await http.post("/flywheel/result", json={})).json()
    assert again["id"] is None, "outcomes count for one turn"


async def test_by_itself_it_turns_once_a_period_however_many_replicas_there_are(
    http: httpx.AsyncClient, pg_settings: Settings
):
    stores = [EnergyRepository(pg_settings) for _ in range(3)]
    try:
        await told(http, LedgerEntry("o/echo", "energy", 1.0, Sums(outcomes=500, failures=250)))
        assert await asyncio.gather(*[store.turn_when_due(60) for store in stores]) == [None] * 3, "a period begins"
        async with stores[0].database.connection() as connection:
            await connection.execute("update seedcore.leaders set expires_at = now() where role = 'flywheel'")
        turns = [turn for turn in await asyncio.gather(*[store.turn_when_due(60) for store in stores]) if turn]
        assert [turn["v"] for turn in turns] == [pytest.approx(1.1)]
        undone = (await http.post("/flywheel/result", json={"undo": turns[0]["id"]})).json()
        assert undone["v"] == 1.0
        assert (await http.get("/metrics")).json()["flywheel"] == {"period_s": 600.0, "failing": None}
    finally:
        await asyncio.gather(*[store.aclose() for store in stores])


async def test_a_period_of_0_turns_nothing_by_itself(pg_settings: Settings):
    store = EnergyRepository(pg_settings.model_copy(update={"flywheel_s": 0.0}))
    await asyncio.wait_for(store.run_flywheel(), 5)
    await store.aclose()


async def test_the_ledger_is_paged_and_calibrates_by_scope(http: httpx.AsyncClient):
    sums = Sums(10, 1.0, 2.0, 0.5, 1, 5.0, 10.0, 20.0, 30.0)
    await told(http, *[LedgerEntry(f"o/t{n % 2}", "energy", 1.0, sums) for n in range(5)])
    first = (await http.get("/ledger", params={"limit": 3})).json()
    rest = (await http.get("/ledger", params={"limit": 3, "before": first["next"]})).json()
    ids = [item["id"] for item in first["items"] + rest["items"]]
    assert ids == sorted(ids, reverse=True)
    assert (len(ids), rest["next"]) == (5, None)
    assert len((await http.get("/ledger", params={"scope": "o/t0"})).json()["items"]) == 3
    found = (await http.get("/metrics")).json()
    assert (found["overall"]["outcomes"], found["overall"]["seconds_ratio"]) == (50, 2.0)
    assert found["scopes"]["o/t1"]["outcomes"] == 20
    assert found["scopes"]["o/t1"]["delta_ratio"] == 2.0


async def test_the_change_at_a_moment_is_measured_from_the_ledger(http: httpx.AsyncClient):
    async with http.service._repository.database.connection() as connection:
        for minutes, delta in ((-5, 1.0), (5, 3.0)):
            sums = Sums(outcomes=100, realised_delta=100 * delta, realised_squares=100 * (delta * delta + 0.25))
            await ledger_repository.append(connection, [LedgerEntry("o/x", "energy", 1.0, sums)])
            await connection.execute(
                "update seedcore.energy_ledger set at = now() + make_interval(mins => $1) "
                "where id = (select max(id) from seedcore.energy_ledger)",
                minutes,
            )
    found = (await http.get("/change", params={"at": datetime.now(UTC).isoformat(), "window_s": 600})).json()
    assert found["change"] == pytest.approx(2.0)
    assert 1.7 < found["low"] < 2.0 < found["high"] < 2.3
    past = datetime.now(UTC) - timedelta(days=1)
    assert (await http.get("/change", params={"at": past.isoformat()})).json()["change"] is None


async def test_only_retention_deletes_entries(http: httpx.AsyncClient):
    await told(
        http, LedgerEntry("o/x", "energy", 1.0, Sums(outcomes=1)), LedgerEntry("o/y", "energy", 1.0, Sums(outcomes=1))
    )
    async with http.service._repository.database.connection() as connection:
        await connection.execute("update seedcore.energy_ledger set at = now() - interval '2 days' where scope = 'o/x'")
        await ledger_repository.delete_expired(connection, 86_400)
    assert [item["scope"] for item in (await http.get("/ledger")).json()["items"]] == ["o/y"]
