"""`refresh_model` answers what changed for this replica since it last looked."""

from collections.abc import AsyncIterator

import httpx
import pytest

from seedcore.ml.registry.aliases import set_alias
from seedcore.ml.service import MLService
from seedcore.settings import Settings
from tests.ml.support import flowers, started_service


@pytest.fixture
async def service(pg_settings: Settings) -> AsyncIterator[MLService]:
    async with started_service(pg_settings) as service:
        yield service


async def train(service: MLService, name: str = "m") -> None:
    await service.invoke("/xgboost/train", {"name": name, "params": {"n_estimators": 2}} | flowers())


async def test_what_changed_since_the_last_look_is_answered_once(service: MLService, http: httpx.AsyncClient) -> None:
    first = (await http.post("/xgboost/refresh_model", json={})).json()
    assert (first["added"], first["gone"], first["aliases"], first["models"]) == ([], [], [], 0)
    await train(service)
    await train(service)
    await service.invoke("/xgboost/predict", {"name": "m", "version": 1, "features": [0, 0, 0]})
    async with service.parts.database.transaction() as connection:
        await set_alias(connection, "m", "champion", 2)
    second = (await http.post("/xgboost/refresh_model", json={"name": "m"})).json()
    assert [one["version"] for one in second["added"]] == [1, 2]
    assert second["aliases"] == [{"name": "m", "alias": "champion", "before": None, "now": 2}]
    assert second["loaded"] == [{"name": "m", "version": 1}]
    service.parts.store.delete("m", 1)
    third = (await http.post("/xgboost/refresh_model", json={})).json()
    assert third["gone"] == third["evicted"] == [{"name": "m", "version": 1}]
    assert (third["added"], third["aliases"], third["loaded"]) == ([], [], [])
    assert (await http.post("/xgboost/refresh_model", json={"name": "other"})).status_code == 404
    assert (await http.post("/xgboost/refresh_model", json={"name": 3})).status_code == 422
