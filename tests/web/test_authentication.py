"""API keys: which requests need one, and which keys open."""

from typing import Any

import httpx
import pytest

from tests.web.application import client_of, make_app, refused


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer "},
        {"x-api-key": ""},
        {"x-api-key": "one,two"},
        {"authorization": "Basic b25l"},
        {"x-api-key": "\u00e9".encode("latin-1")},
    ],
)
@pytest.mark.parametrize("path", ["/pick", "/docs", "/openapi.json", "/nowhere", "/facts/health", "/pick/health"])
async def test_without_a_right_key_everything_but_health_is_401(headers: dict[str, Any], path: str):
    http = client_of(make_app(api_keys="one, two"))
    answer = await http.get(path, headers=headers)
    assert "SEEDCORE_API_KEYS" in refused(answer, 401, "unauthorized")["detail"]
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer one"},
        {"authorization": "bearer two"},
        {"x-api-key": "two"},
        {"X-API-Key": "one"},
    ],
)
async def test_any_of_the_keys_opens(headers: dict[str, str]):
    http = client_of(make_app(api_keys="one, two"))
    assert (await http.get("/pick", headers=headers)).status_code == 200


async def test_health_needs_no_key_also_below_a_route_prefix():
    app = make_app(api_keys="one")
    assert (await client_of(app).get("/health")).status_code == 200
    transport = httpx.ASGITransport(app, root_path="/pipeline")
    http = httpx.AsyncClient(transport=transport, base_url="http://test")
    assert (await http.get("/pipeline/health")).status_code == 200
    assert (await http.get("/pipeline/facts/health")).status_code == 401
