"""A gateway on a database of its own, and keys for it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from seedcore.api.app import build_app
from seedcore.settings import Settings

ROOT = {"Authorization": "Bearer root"}
KEYS = "/api/v1/keys"

MakeKey = Callable[..., Awaitable[dict[str, str]]]


@pytest.fixture
async def app(pg_settings: Settings) -> AsyncIterator[FastAPI]:
    """The gateway with one key of the settings, `root`."""
    made = build_app(pg_settings.model_copy(update={"api_keys": SecretStr("root")}))
    yield made
    await made.state.access.aclose()
    await made.state.gateway.aclose()


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


@pytest.fixture
def make_key(http: httpx.AsyncClient) -> MakeKey:
    """Make a stored key, and return the headers that present it."""

    async def make(name: str, *scopes: str, by: dict[str, str] | None = None, **given: Any) -> dict[str, str]:
        body = {"name": name, "scopes": list(scopes), **given}
        answer = await http.post(KEYS, json=body, headers=by or ROOT)
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['key']}"}

    return make
