from collections.abc import AsyncIterator

import httpx
import pytest

from seedcore.ml.service import MLService
from seedcore.settings import Settings
from tests.ml.support import started_service


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[MLService]:
    async with started_service(settings) as service:
        yield service


@pytest.fixture
async def http(service: MLService) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(service.build_app())
    return httpx.AsyncClient(transport=transport, base_url="http://test")
