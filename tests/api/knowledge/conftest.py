"""A gateway whose database is away: what it refuses, it refuses before it asks for one."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from seedcore.api.app import build_app
from seedcore.settings import load_settings


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(load_settings(data_dir=tmp_path / "data", pg_dsn="postgresql://u:p@127.0.0.1:9/none"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client
    await app.state.gateway.aclose()
