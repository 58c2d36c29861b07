"""A database that answers and cannot do its work: 503 with a code that says what is the matter, and health says so."""

import httpx
import pytest
from fastapi import FastAPI

from tests.api.conftest import TASKS, refused, submit

pytestmark = pytest.mark.integration


async def failing(app: FastAPI, state: str | None) -> None:
    """Let every insert of a task fail with that SQLSTATE; None: no more."""
    async with app.state.gateway.database.connection() as connection:
        await connection.execute("drop trigger if exists fail on seedcore.tasks")
        if state is not None:
            await connection.execute(
                f"""create or replace function fail() returns trigger language plpgsql as $$
                begin raise exception 'as in life' using errcode = '{state}'; end $$"""
            )
            await connection.execute("create trigger fail before insert on seedcore.tasks execute function fail()")


@pytest.mark.parametrize(
    ("state", "code", "status"),
    [
        ("53100", "database_full", "degraded"),
        ("25006", "database_read_only", "degraded"),
        ("53200", "database_out_of_memory", "degraded"),
        ("40001", "database_conflict", "ok"),
        ("55P03", "database_lock_timeout", "ok"),
        ("57014", "database_timeout", "ok"),
        ("57P01", "unavailable", "ok"),
    ],
)
async def test_a_submit_that_cannot_be_kept_is_503_with_its_code_and_health_says_so(
    app: FastAPI, http: httpx.AsyncClient, state: str, code: str, status: str
):
    await failing(app, state)
    body = {"type": "echo", "params": {"value": 1}}
    for path, sent in ((TASKS, body), (f"{TASKS}/batch", {"tasks": [body]})):
        answer = await http.post(path, json=sent)
        refused(answer, 503, code)
        assert int(answer.headers["retry-after"]) >= 1
    health = await http.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, status)
    assert health.json()["postgres"].get("code") == (code if status == "degraded" else None)
    assert (await http.get(TASKS)).json()["items"] == []
    await failing(app, None)
    await submit(http)
