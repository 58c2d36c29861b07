"""Keys are made, listed, rotated and revoked over HTTP."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from tests.web.application import refused

from .conftest import KEYS, ROOT, MakeKey

pytestmark = pytest.mark.integration
TASKS = "/api/v1/tasks"


async def test_a_secret_is_shown_once_and_only_its_hash_is_kept(http: httpx.AsyncClient, pg_dsn: str):
    answer = await http.post(KEYS, json={"name": "ci", "scopes": ["read"]}, headers=ROOT)
    secret = answer.json()["key"]
    assert re.fullmatch(r"sc_[A-Za-z0-9_-]{43}", secret)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() | {"name": "ci", "scopes": ["read"], "tenant": None, "payloads": True} == answer.json()
    assert secret not in (await http.get(KEYS, headers=ROOT)).text
    connection = await asyncpg.connect(pg_dsn)
    try:
        for table in ("api_keys", "audit"):
            rows = await connection.fetch(f"select t::text as row from seedcore.{table} t")
            assert not any(secret in row["row"] for row in rows)
    finally:
        await connection.close()


async def test_where_approvers_are_configured_only_they_make_keys_that_approve(app: FastAPI, http: httpx.AsyncClient):
    app.state.gateway.approvers = {"hers": "ada"}
    for scope in ("approve", "admin"):
        refused(await http.post(KEYS, json={"name": "ci", "scopes": ["read", scope]}, headers=ROOT), 403, "forbidden")
    assert (await http.post(KEYS, json={"name": "ci", "scopes": ["read"]}, headers=ROOT)).status_code == 201


async def test_two_active_keys_of_a_tenant_have_different_names(http: httpx.AsyncClient, make_key: MakeKey):
    await make_key("ci", "read")
    again = await http.post(KEYS, json={"name": "ci", "scopes": ["read"]}, headers=ROOT)
    refused(again, 409, "conflict")
    for tenant in ("acme", "umbra"):
        await make_key("ci", "read", tenant=tenant)
    assert (await http.delete(f"{KEYS}/ci", headers=ROOT)).status_code == 204, "the platform's own"
    assert (await http.delete(f"{KEYS}/ci", headers=ROOT)).status_code == 409, "it does not say whose"
    assert (await http.delete(f"{KEYS}/ci?tenant=acme", headers=ROOT)).status_code == 204
    assert (await http.delete(f"{KEYS}/ci", headers=ROOT)).status_code == 204
    await make_key("ci", "read")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "scopes": ["read"]},
        {"name": "a/b", "scopes": ["read"]},
        {"name": "a", "scopes": []},
        {"name": "a", "scopes": ["root"]},
        {"name": "a", "scopes": ["read"], "tenant": "Not-Allowed"},
        {"name": "a", "scopes": ["read"], "expires_in_s": 0},
        {"name": "a", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"},
        {"name": "a", "scopes": ["read"], "expires_at": "2999-01-01T00:00:00Z", "expires_in_s": 5},
        {"name": "a", "scopes": ["read"], "key": "mine"},
    ],
)
async def test_a_key_that_is_not_allowed_is_422(http: httpx.AsyncClient, body: dict[str, Any]):
    refused(await http.post(KEYS, json=body, headers=ROOT), 422, "invalid_input")


async def test_after_a_rotation_both_secrets_open_until_the_grace_ends(
    http: httpx.AsyncClient, make_key: MakeKey, pg_dsn: str
):
    old = await make_key("ci", "read", expires_in_s=3600)
    assert (await http.get(TASKS, headers=old)).status_code == 200
    answer = await http.post(f"{KEYS}/ci/rotate", json={"grace_s": 60}, headers=ROOT)
    assert answer.status_code == 201, answer.text
    new = {"X-API-Key": answer.json()["key"]}
    for headers in (old, new, old, new):
        assert (await http.get(TASKS, headers=headers)).status_code == 200
    rows = (await http.get(KEYS, headers=ROOT)).json()["items"]
    ends = [datetime.fromisoformat(row["expires_at"]) for row in rows]
    assert ends[1] < datetime.now(UTC) + timedelta(seconds=61), "the old secret ends with its grace"
    assert ends[0] > datetime.now(UTC) + timedelta(seconds=3500), "the new one keeps the key's expiry"
    assert (await http.post(f"{KEYS}/ci/rotate", json={"grace_s": 0}, headers=ROOT)).status_code == 201
    for headers in (old, new):
        refused(await http.get(TASKS, headers=headers), 401, "unauthorized")


async def test_revoking_ends_every_secret_of_a_key_at_once(http: httpx.AsyncClient, make_key: MakeKey):
    old = await make_key("ci", "read")
    new = {"X-API-Key": (await http.post(f"{KEYS}/ci/rotate", headers=ROOT)).json()["key"]}
    assert (await http.get(TASKS, headers=old)).status_code == 200
    assert (await http.delete(f"{KEYS}/ci", headers=ROOT)).status_code == 204
    for headers in (old, new):
        refused(await http.get(TASKS, headers=headers), 401, "unauthorized")
    refused(await http.delete(f"{KEYS}/ci", headers=ROOT), 404, "not_found")


async def test_a_tenants_admin_has_to_do_with_its_tenant_alone(http: httpx.AsyncClient, make_key: MakeKey):
    acme = await make_key("acme-admin", "admin", tenant="acme")
    await make_key("other", "read", tenant="umbrella")
    await make_key("platform", "read")
    made = await http.post(KEYS, json={"name": "worker", "scopes": ["submit"]}, headers=acme)
    assert made.json()["tenant"] == "acme"
    names = [row["name"] for row in (await http.get(KEYS, headers=acme)).json()["items"]]
    assert names == ["worker", "acme-admin"]
    body = {"name": "x", "scopes": ["read"], "tenant": "umbrella"}
    refused(await http.post(KEYS, json=body, headers=acme), 403, "platform_only")
    refused(await http.get(f"{KEYS}?tenant=umbrella", headers=acme), 403, "platform_only")
    for name in ("other", "platform", "nothing"):
        for query in ("", "?tenant=umbrella"):
            refused(await http.delete(f"{KEYS}/{name}{query}", headers=acme), 404, "not_found")
            refused(await http.post(f"{KEYS}/{name}/rotate{query}", headers=acme), 404, "not_found")


async def test_nobody_hands_out_more_than_they_hold(http: httpx.AsyncClient, make_key: MakeKey):
    plain = await make_key("plain", "operate")
    body = {"name": "x", "scopes": ["operate"]}
    assert refused(await http.post(KEYS, json=body, headers=plain), 403, "missing_scope")["scope"] == "admin"
    blind = await make_key("blind", "admin", payloads=False)
    refused(await http.post(KEYS, json={**body, "payloads": True}, headers=blind), 403, "forbidden")
    await make_key("seeing", "read")
    refused(await http.post(f"{KEYS}/seeing/rotate", headers=blind), 403, "forbidden")
    assert (await http.post(KEYS, json=body, headers=blind)).json()["payloads"] is False


async def test_keys_come_in_pages(http: httpx.AsyncClient, make_key: MakeKey):
    for n in range(5):
        await make_key(f"k{n}", "read")
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await http.get(KEYS, params=query, headers=ROOT)).json()
        seen += [row["name"] for row in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == ["k4", "k3", "k2", "k1", "k0"]
