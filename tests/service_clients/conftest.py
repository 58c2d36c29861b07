from collections.abc import AsyncIterator

import pytest

from seedcore.ml.service import MLService
from seedcore.settings import Settings
from tests.ml.support import started_service


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[MLService]:
    async with started_service(settings) as service:
        yield service
