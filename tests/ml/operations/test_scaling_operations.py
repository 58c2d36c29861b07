"""Forecasts over HTTP: the fixed shape, honest answers with little history, and errors that name the field."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest

from seedcore.ml.scaling.arrivals import floored
from seedcore.ml.service import MLService
from seedcore.settings import Settings
from tests.ml.support import started_service


@pytest.fixture
async def recorded(pg_settings: Settings) -> AsyncIterator[MLService]:
    """A service whose record holds ten days of a daily pattern of `echo`, 15 minutes a slot."""
    async with started_service(pg_settings) as service:
        end = floored(datetime.now(UTC), 900)
        moments = [end - timedelta(seconds=900 * k) for k in range(960, 0, -1)]
        angle = [2 * np.pi * (at.timestamp() % 86_400) / 86_400 for at in moments]
        tasks = np.random.default_rng(1).poisson(60 * (1.1 + np.sin(angle)))
        rows = [("default", "echo", at, int(n)) for at, n in zip(moments, tasks, strict=True) if n]
        async with service.parts.database.connection() as connection:
            await connection.executemany("insert into seedcore.arrivals values ($1, $2, $3, $4)", rows)
            await connection.execute(
                "insert into seedcore.arrivals_counted (since, until_final) values ($1, $2)", moments[0], end
            )
        yield service


def client(service: MLService) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(service.build_app()), base_url="http://test")


@pytest.mark.integration
async def test_a_daily_pattern_is_forecast_with_its_measured_coverage(recorded: MLService):
    body = {"queue": "default", "horizon_s": 43_200, "step_s": 900, "level": 0.8}
    answer = await client(recorded).post("/predict/scaling", json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["source"], found["seasons_s"]) == ("seasonal", [86_400.0])
    assert 0.75 < found["coverage"] < 0.85
    assert len(found["forecast"]) in (48, 49)
    for point in found["forecast"]:
        true = (
            60 * (1.1 + np.sin(2 * np.pi * (datetime.fromisoformat(point["at"]).timestamp() % 86_400) / 86_400)) / 900
        )
        assert point["low"] <= point["per_s"] <= point["high"]
        assert abs(point["per_s"] - true) < 0.02
    first = datetime.fromisoformat(found["forecast"][0]["at"])
    assert timedelta(0) <= datetime.now(UTC) - first < timedelta(seconds=905)


@pytest.mark.integration
async def test_hosts_are_not_guessed_where_the_organism_does_not_answer(recorded: MLService):
    found = (await client(recorded).post("/predict/scaling", json={"step_s": 900})).json()
    assert found["hosts"] == []
    assert "organism" in found["notes"][0]


@pytest.mark.integration
async def test_a_queue_without_tasks_is_said_to_have_too_little_history(recorded: MLService):
    found = (await client(recorded).post("/predict/scaling", json={"queue": "nope", "hosts": False})).json()
    assert (found["source"], found["coverage"], found["forecast"][0]["per_s"]) == ("too_little_history", None, 0)
    assert found["forecast"][0]["high"] > 0


@pytest.mark.integration
async def test_before_anything_is_recorded_the_answer_is_409(pg_settings: Settings):
    async with started_service(pg_settings) as service:
        answer = await client(service).post("/predict/scaling", json={})
        assert (answer.status_code, answer.json()["code"]) == (409, "too_little_history")
        assert int(answer.headers["Retry-After"]) == 15


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"metrics": {"cpu": 0.5}}, "metrics"),
        ({"step_s": 20}, "step_s"),
        ({"step_s": 0}, "step_s"),
        ({"horizon_s": 86_400, "step_s": 15}, "horizon_s"),
        ({"horizon_s": "soon"}, "horizon_s"),
        ({"level": 1.0}, "level"),
        ({"queue": ""}, "queue"),
        ({"queue": "a\u0000b"}, "queue"),
        ({"type": 7}, "type"),
    ],
)
async def test_a_wrong_field_is_named(http: httpx.AsyncClient, body: dict[str, object], field: str):
    answer = await http.post("/predict/scaling", json=body)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]
