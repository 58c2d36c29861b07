"""Limits over HTTP."""

import httpx
import pytest

from seedcore.tasks import reaping
from tests.api.conftest import Dispatcher, refused, submit

pytestmark = pytest.mark.integration
LIMITS = "/api/v1/limits"


async def test_a_key_lets_through_what_its_limit_allows(http: httpx.AsyncClient, dispatcher: Dispatcher, app):
    first = await submit(http, 1, limit={"key": "customer/42", "max_running": 1})
    second = await submit(http, 2, limit={"key": "customer/42"})
    async with app.state.gateway.database.connection() as connection:
        assert await reaping.admit(connection) == 1
    state = (await http.get(f"{LIMITS}/customer/42")).json()
    assert (state["max_running"], state["running"], state["waiting"]) == (1, 1, 1)
    lease = await dispatcher.lease()
    assert str(lease.id) == first["id"]
    refused(await http.delete(f"{LIMITS}/customer/42"), 409, "conflict")
    await dispatcher.complete(lease)
    lease = await dispatcher.lease()
    assert str(lease.id) == second["id"]
    await dispatcher.complete(lease)
    assert (await http.get(LIMITS)).json()["items"][0]["waiting"] == 0
    assert (await http.delete(f"{LIMITS}/customer/42")).status_code == 204
    refused(await http.get(f"{LIMITS}/customer/42"), 404, "not_found")


async def test_a_wider_limit_takes_hold_at_once(http: httpx.AsyncClient, dispatcher: Dispatcher):
    body = {"max_running": None, "rate_per_s": 0.001, "burst": 1}
    assert (await http.put(f"{LIMITS}/k", json=body)).json()["rate_per_s"] == 0.001
    await submit(http, 1, limit={"key": "k"})
    await submit(http, 2, limit={"key": "k"})
    assert (await http.put(f"{LIMITS}/k", json={**body, "burst": 1})).json()["waiting"] == 1
    assert (await http.put(f"{LIMITS}/k", json={"max_running": 5})).json()["waiting"] == 0
    assert len({(await dispatcher.lease()).id, (await dispatcher.lease()).id}) == 2
    refused(await http.put(f"{LIMITS}/k", json={"max_running": 0}), 422, "invalid_input")
