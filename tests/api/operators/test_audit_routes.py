"""The audit log: what is in it, who may read it, and that nobody changes it."""

from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from seedcore.settings import Settings
from tests.web.application import refused

from .conftest import KEYS, ROOT, MakeKey

pytestmark = pytest.mark.integration
AUDIT = "/api/v1/audit"


async def rows(http: httpx.AsyncClient, headers: dict[str, str] | None = None, **query: Any) -> list[dict[str, Any]]:
    answer = await http.get(AUDIT, params=query, headers=headers or ROOT)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def test_a_change_is_recorded_before_its_answer(http: httpx.AsyncClient, make_key: MakeKey):
    operator = await make_key("ops", "operate")
    assert (await http.post("/api/v1/queue/default/pause", headers=operator)).status_code == 200
    newest = (await rows(http))[0]
    assert (newest["actor"], newest["actor_kind"], newest["tenant"]) == ("ops", "key", None)
    assert (newest["action"], newest["target"]) == ("POST /api/v1/queue/{queue}/pause", "default")
    assert (newest["status"], newest["source"], newest["detail"]) == (200, "127.0.0.1", {})


async def test_making_a_key_is_recorded_with_its_scopes(http: httpx.AsyncClient, make_key: MakeKey):
    await make_key("ci", "read", tenant="acme")
    [row] = await rows(http, action="POST /api/v1/keys")
    assert (row["actor"], row["target"], row["status"]) == ("setting-1", "ci", 201)
    assert row["detail"] == {"scopes": ["read"], "of_tenant": "acme", "payloads": True}


async def test_submissions_and_reads_are_not_recorded(http: httpx.AsyncClient):
    body = {"type": "echo", "params": {"value": 1}}
    assert (await http.post("/api/v1/tasks", json=body, headers=ROOT)).status_code == 201
    assert (await http.get("/api/v1/tasks", headers=ROOT)).status_code == 200
    assert await rows(http) == []


async def test_equal_refusals_are_summed(app: FastAPI, http: httpx.AsyncClient, make_key: MakeKey):
    reader = await make_key("reader", "read")
    for _ in range(20):
        assert (await http.post("/api/v1/queue/default/pause", headers=reader)).status_code == 403
        assert (await http.get("/api/v1/tasks", headers={"X-API-Key": "wrong"})).status_code == 401
    await app.state.access.audit.aclose()
    found = [row for row in await rows(http) if row["status"] in (401, 403)]
    told = {(row["actor"], row["status"], row["detail"]["reason"], row["detail"]["count"]) for row in found}
    assert told == {("reader", 403, "missing_scope", 20), ("anonymous", 401, "unauthorized", 20)}


async def test_refusals_of_keys_that_share_a_name_are_told_apart(
    app: FastAPI, http: httpx.AsyncClient, make_key: MakeKey
):
    for tenant in (None, "acme", "umbrella"):
        reader = await make_key("reader", "read", tenant=tenant)
        assert (await http.post("/api/v1/tasks", json={}, headers=reader)).status_code == 403
    await app.state.access.audit.aclose()
    found = [(row["tenant"], row["detail"]["count"]) for row in await rows(http) if row["status"] == 403]
    assert sorted(found, key=str) == [("acme", 1), ("umbrella", 1), (None, 1)]


async def test_the_end_of_a_key_is_recorded_with_whose_it_was(http: httpx.AsyncClient, make_key: MakeKey):
    await make_key("ci", "read", tenant="acme")
    assert (await http.post(f"{KEYS}/ci/rotate", json={"grace_s": 1}, headers=ROOT)).status_code == 201
    assert (await http.delete(f"{KEYS}/ci", headers=ROOT)).status_code == 204
    revoked, rotated = (row for row in (await rows(http))[:2])
    assert (revoked["target"], revoked["detail"]) == ("ci", {"of_tenant": "acme"})
    assert rotated["detail"] == {"grace_s": 1, "of_tenant": "acme"}


async def test_the_log_is_filtered_and_paged(http: httpx.AsyncClient, make_key: MakeKey):
    for n in range(5):
        await make_key(f"k{n}", "read")
    first = (await http.get(AUDIT, params={"limit": 2}, headers=ROOT)).json()
    assert [row["target"] for row in first["items"]] == ["k4", "k3"]
    second = (await http.get(AUDIT, params={"limit": 2, "cursor": first["next_cursor"]}, headers=ROOT)).json()
    assert [row["target"] for row in second["items"]] == ["k2", "k1"]
    at = second["items"][0]["at"]
    assert [row["target"] for row in await rows(http, since=at)] == ["k4", "k3", "k2"]
    assert [row["target"] for row in await rows(http, until=at)] == ["k1", "k0"]
    assert await rows(http, actor="nobody") == []


async def test_a_tenants_admin_reads_what_its_tenant_did(http: httpx.AsyncClient, make_key: MakeKey):
    acme = await make_key("acme-admin", "admin", tenant="acme")
    other = await make_key("other-admin", "admin", tenant="umbrella")
    await make_key("mine", "read", by=acme)
    await make_key("theirs", "read", by=other)
    assert [row["target"] for row in await rows(http, acme)] == ["mine"]
    refused(await http.get(f"{AUDIT}?tenant=umbrella", headers=acme), 403, "platform_only")
    operator = await make_key("op", "operate")
    refused(await http.get(AUDIT, headers=operator), 403, "missing_scope")


async def test_nobody_changes_what_is_recorded_but_retention(http: httpx.AsyncClient, make_key: MakeKey, pg_dsn: str):
    await make_key("ci", "read")
    connection = await asyncpg.connect(pg_dsn)
    try:
        for statement in (
            "update seedcore.audit set actor = 'x'",
            "delete from seedcore.audit",
            "truncate seedcore.audit",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
                await connection.execute(statement)
        assert await connection.fetchval("select seedcore.forget_audit(3600)") == 0
        assert await connection.fetchval("select seedcore.forget_audit(-60)") == 1
    finally:
        await connection.close()


async def test_a_row_that_cannot_be_written_does_not_stop_the_change(
    app: FastAPI, http: httpx.AsyncClient, pg_settings: Settings, pg_dsn: str, capsys: pytest.CaptureFixture[str]
):
    connection = await asyncpg.connect(pg_dsn)
    try:
        await connection.execute("alter table seedcore.audit rename to audit_away")
        answer = await http.post(KEYS, json={"name": "ci", "scopes": ["read"]}, headers=ROOT)
        assert answer.status_code == 201
        await connection.execute("alter table seedcore.audit_away rename to audit")
    finally:
        await connection.close()
    told = capsys.readouterr().out
    assert "audit row not written" in told
    assert answer.json()["key"] not in told
