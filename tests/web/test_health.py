"""`GET /health`: ready, or not."""

import httpx

from tests.web.application import client_of, make_app


async def test_health_is_200_when_ready_and_503_when_not(http: httpx.AsyncClient):
    answer = await http.get("/health")
    assert answer.status_code == 200
    assert answer.json() | {"version": "x"} == {
        "status": "ok",
        "service": "test",
        "version": "x",
        "postgres": {"ready": True},
    }
    answer = await client_of(make_app(ready=False)).get("/health")
    assert answer.status_code == 503
    assert answer.json()["status"] == "unavailable"
    assert answer.json()["postgres"] == {"ready": False}
