"""`GET /energy/change` on ended tasks and the ledger, by type and domain; odd queries are refused by field."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from seedcore.energy.service import EnergyService
from seedcore.settings import Settings

AT = datetime.now(UTC) - timedelta(minutes=10)


@pytest.fixture
async def http(pg_settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    service = EnergyService({"version": "test"}, pg_settings)
    app = service.build_app()
    await service.start()
    async with service._repository.database.connection() as connection:
        for before in (True, False):
            for domain, seconds in (("north", 1.0), ("south", 3.0)):
                # Ids are in the order of time, so where a task lies is said by its id.
                await connection.execute(
                    """
                    with made as (
                      insert into seedcore.tasks (id, type, params, max_attempts, domain)
                      select (left(seedcore.first_id($1)::text, 13) || right(gen_random_uuid()::text, 23))::uuid,
                             'ml.predict', '{}', 3, $2 from generate_series(1, 40) returning id)
                    insert into seedcore.finished (id, tick, status, attempts, started_at, finished_at)
                    select id, 1, 'completed', 1, $1, $1 + make_interval(secs => $3) from made
                    """,
                    AT + timedelta(seconds=-60 if before else 60),
                    domain,
                    seconds + (0.0 if before else 0.5),
                )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client
    await service.stop()


async def test_seconds_and_failures_before_and_after_by_type_and_domain(http: httpx.AsyncClient):
    params = {"since": AT.isoformat(), "type": "ml.predict", "window_s": "300"}
    whole = (await http.get("/change", params=params)).json()
    assert (whole["tasks_before"], whole["tasks_after"], whole["enough"]) == (80, 80, True)
    assert whole["seconds"]["change"] == pytest.approx(0.5)
    assert whole["seconds"]["low"] < 0.5 < whole["seconds"]["high"]
    assert whole["failures"]["change"] == 0.0
    assert (whole["before"], whole["change"]) == (0, None)
    north = (await http.get("/change", params=params | {"domain": "north"})).json()
    assert (north["tasks_before"], north["seconds"]["before"]) == (40, pytest.approx(1.0))
    other = (await http.get("/change", params=params | {"type": "echo"})).json()
    assert (other["tasks_before"], other["enough"], other["seconds"]["before"]) == (0, False, None)
    same = (await http.get("/change", params={"at": AT.isoformat(), "window_s": "300"})).json()
    assert same["tasks_after"] == 80
    now = AT.isoformat()
    for query in (
        {},
        {"since": now, "at": now},
        {"since": "0001-01-01T00:00:00Z"},
        {"since": "9999-12-31T23:59:59Z"},
        {"since": "yesterday"},
        {"since": "2026-01-01T00:00:00"},
        {"since": now, "window_s": "nan"},
        {"since": now, "type": "a\0"},
        {"since": now, "domain": "x" * 300},
        {"since": now, "other": "1"},
    ):
        answer = await http.get("/change", params=query)
        assert answer.status_code == 422, (query, answer.text)
