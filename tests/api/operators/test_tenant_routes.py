"""Tenants over HTTP: who may see and set weights."""

import httpx
import pytest

from tests.api.conftest import refused
from tests.api.operators.conftest import ROOT, MakeKey

pytestmark = pytest.mark.integration
TENANTS = "/api/v1/tenants"


async def test_weights_and_depths_are_shown_by_name(http: httpx.AsyncClient):
    for name, count in (("acme", 2), ("default", 1), ("zeta", 3)):
        for n in range(count):
            body = {"type": "echo", "params": {"value": n}, "priority": n}
            sent = await http.post("/api/v1/tasks", json=body, headers={**ROOT, "X-SeedCore-Tenant": name})
            assert sent.status_code == 201, sent.text
    answer = await http.put(f"{TENANTS}/acme", json={"weight": 4}, headers=ROOT)
    assert answer.json() == {"name": "acme", "weight": 4}
    await http.put(f"{TENANTS}/idle", json={"weight": 2}, headers=ROOT)
    page = (await http.get(TENANTS, params={"limit": 3}, headers=ROOT)).json()
    assert page["items"] == [
        {"name": "acme", "weight": 4, "ready": 2},
        {"name": "default", "weight": 1, "ready": 1},
        {"name": "idle", "weight": 2, "ready": 0},
    ]
    rest = (await http.get(TENANTS, params={"cursor": page["next_cursor"]}, headers=ROOT)).json()
    assert (rest["items"], rest["next_cursor"]) == ([{"name": "zeta", "weight": 1, "ready": 3}], None)


@pytest.mark.parametrize("weight", [0, 1001, 1.5, "2", None])
async def test_a_weight_out_of_bounds_is_refused(http: httpx.AsyncClient, weight: object):
    refused(await http.put(f"{TENANTS}/acme", json={"weight": weight}, headers=ROOT), 422, "invalid_input")


async def test_a_name_that_no_tenant_can_have_is_refused(http: httpx.AsyncClient):
    refused(await http.put(f"{TENANTS}/Acme", json={"weight": 2}, headers=ROOT), 422, "invalid_input")


async def test_only_the_platforms_admins_may(http: httpx.AsyncClient, make_key: MakeKey):
    tenants_admin = await make_key("a", "admin", tenant="acme")
    operator = await make_key("b", "operate", "read")
    for key, status, code in ((tenants_admin, 403, "platform_only"), (operator, 403, "missing_scope")):
        refused(await http.get(TENANTS, headers=key), status, code)
        refused(await http.put(f"{TENANTS}/acme", json={"weight": 9}, headers=key), status, code)
