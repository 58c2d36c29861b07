"""What is used is not deleted."""

import uuid
from collections.abc import AsyncIterator

import httpx
import pytest

from seedcore.ml.registry.aliases import set_alias
from seedcore.ml.registry.model_uses import note_use
from seedcore.ml.service import MLService
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.tasks import commands
from seedcore.tasks.model import TaskSpec
from seedcore.tasks.submission.submit import submit
from tests.ml.support import flowers, started_service


@pytest.fixture
async def service(pg_settings: Settings) -> AsyncIterator[MLService]:
    async with started_service(pg_settings) as service:
        for _ in range(3):
            await service.invoke("/xgboost/train", {"name": "m", "params": {"n_estimators": 2}} | flowers())
        yield service


@pytest.fixture
def database(service: MLService) -> Database:
    return service.parts.database


async def delete(http: httpx.AsyncClient, **request: object) -> httpx.Response:
    return await http.request("DELETE", "/xgboost/delete_model", json={"name": "m", **request})


async def test_what_nothing_uses_is_deleted(http: httpx.AsyncClient) -> None:
    assert (await delete(http, version=3)).json() == {"name": "m", "deleted": [3]}
    assert (await delete(http, version=3)).status_code == 404
    assert (await http.get("/xgboost/model_info", params={"name": "m"})).json()["version"] == 2
    assert (await delete(http)).json() == {"name": "m", "deleted": [1, 2]}
    assert (await delete(http)).status_code == 404


async def test_what_an_alias_means_stays_unless_forced(http: httpx.AsyncClient, database: Database) -> None:
    async with database.transaction() as connection:
        await set_alias(connection, "m", "champion", 2)
    for request in ({"version": 2}, {}):
        answer = await delete(http, **request)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "version 2 by the alias champion" in answer.json()["detail"]
    info = (await http.get("/xgboost/model_info", params={"name": "m"})).json()
    assert (info["versions"], info["aliases"]) == ([1, 2, 3], {"champion": 2})
    assert (await delete(http, version=2, force=True)).json()["deleted"] == [2]
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from seedcore.model_aliases") == 0


async def test_both_sides_of_an_open_promotion_stay(http: httpx.AsyncClient, database: Database) -> None:
    async with database.connection() as connection:
        statement = (
            "insert into seedcore.promotions (name, champion, candidate, status) values ('m', 1, 2, 'shadowing')"
        )
        await connection.execute(statement)
    for version in (1, 2):
        assert "an open promotion" in (await delete(http, version=version, force=True)).json()["detail"]
    assert (await delete(http, version=3)).status_code == 200


async def test_a_version_stays_until_the_job_that_uses_it_has_ended(
    http: httpx.AsyncClient, database: Database
) -> None:
    async with database.transaction() as connection:
        task_id = (await submit(connection, [TaskSpec("echo", '{"value": 1}')]))[0].id
        await note_use(connection, task_id, "m", 1)
        await note_use(connection, uuid.uuid4(), "m", 2)
    answer = await delete(http, version=1)
    assert answer.status_code == 409
    assert f"the job {task_id}" in answer.json()["detail"]
    async with database.transaction() as connection:
        await commands.cancel(connection, task_id)
    assert (await delete(http, version=1)).status_code == 200
    assert (await delete(http, version=2)).status_code == 200
