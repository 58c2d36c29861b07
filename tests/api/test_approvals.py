"""Who may release and refuse tasks over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from seedcore.api.app import build_app
from seedcore.errors import SettingsError
from seedcore.settings import Settings, load_settings

from .conftest import Dispatcher

pytestmark = pytest.mark.integration
TASKS = "/api/v1/tasks"


@asynccontextmanager
async def client(settings: Settings, **changed: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(settings.model_copy(update={name: SecretStr(value) for name, value in changed.items()}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        yield http
    await app.state.gateway.aclose()


def key(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


async def held(http: httpx.AsyncClient, dispatcher: Dispatcher, headers: dict[str, str] | None = None) -> str:
    answer = await http.post(TASKS, json={"type": "echo", "params": {"value": 1}}, headers=headers)
    await dispatcher.hold(await dispatcher.lease())
    return str(answer.json()["id"])


@pytest.mark.parametrize("what", ["approve", "reject"])
async def test_only_an_approver_decides_and_is_named_without_the_key(
    pg_settings: Settings, dispatcher: Dispatcher, what: str
):
    async with client(pg_settings, api_keys="plain", approver_keys="ann:secret-a, ben:secret-b") as http:
        task_id = await held(http, dispatcher, key("plain"))
        for wrong in ("plain", ""):
            answer = await http.post(f"{TASKS}/{task_id}/{what}", headers=key(wrong) if wrong else {})
            assert answer.status_code == (403 if wrong else 401)
        answer = await http.post(f"{TASKS}/{task_id}/{what}", headers=key("secret-b"))
        assert answer.status_code == 202, answer.text
        if what == "approve":
            # A stream of a task that has not ended would not close.
            await http.post(f"{TASKS}/{task_id}/cancel", headers=key("plain"))
        told = (await http.get(f"{TASKS}/{task_id}/events", headers=key("plain"))).text
        assert '"by":"ben"' in told.replace(" ", "")
        assert "secret" not in told + answer.text


async def test_without_api_keys_only_approving_needs_one(pg_settings: Settings, dispatcher: Dispatcher):
    async with client(pg_settings, approver_keys="ann:secret-a") as http:
        task_id = await held(http, dispatcher)
        refused = await http.post(f"{TASKS}/{task_id}/approve")
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert (await http.post(f"{TASKS}/{task_id}/approve", headers=key("secret-a"))).status_code == 202


async def test_without_approvers_anybody_decides(pg_settings: Settings, dispatcher: Dispatcher):
    async with client(pg_settings) as http:
        task_id = await held(http, dispatcher)
        assert (await http.post(f"{TASKS}/{task_id}/approve")).status_code == 202


@pytest.mark.parametrize("value", ["nameless", "a:", ":k", "a b:k", "a:k,b:k"])
def test_approver_keys_have_names_and_the_error_does_not_show_them(value: str):
    with pytest.raises(SettingsError) as caught:
        load_settings(approver_keys=value)
    assert "SEEDCORE_APPROVER_KEYS" in caught.value.detail
    assert value not in caught.value.detail
