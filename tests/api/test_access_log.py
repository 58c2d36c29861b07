"""What the gateway's own log says of requests."""

import io
import json

import httpx
import pytest
from fastapi import FastAPI, HTTPException

from seedcore.api.access_log import FailureLog
from seedcore.settings import load_settings
from seedcore.telemetry.logs import configure_logs


@pytest.mark.parametrize(
    ("status", "event"), [(404, "request refused"), (500, "request failed"), (503, "request failed")]
)
async def test_an_answer_that_is_an_error_is_one_line(status: int, event: str) -> None:
    (line,) = [json.loads(line) for line in (await log_of(status)).splitlines()]
    assert (line["event"], line["method"], line["path"], line["status"]) == (event, "GET", f"/{status}", status)
    assert line["level"] == ("error" if status >= 500 else "info")


async def test_an_answer_that_is_none_is_not_mentioned() -> None:
    assert await log_of(200) == ""


async def log_of(status: int) -> str:
    app = FastAPI()

    @app.get("/{wanted}")
    async def answer(wanted: int) -> str:
        if wanted >= 400:
            raise HTTPException(wanted)
        return "fine"

    stream = io.StringIO()
    configure_logs(load_settings(log_format="json", log_level="INFO"), stream=stream)
    transport = httpx.ASGITransport(FailureLog(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get(f"/{status}")).status_code == status
    return stream.getvalue()
