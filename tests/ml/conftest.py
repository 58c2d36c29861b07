import random
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from seedcore.ml.service import MLService
from seedcore.settings import Settings


def flowers(n: int = 90, seed: int = 1, classes: tuple[Any, ...] = ("iris", "rose", "tulip")) -> dict[str, Any]:
    """A learnable table: the class shifts both features; `noise` says nothing."""
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        k = i % len(classes)
        rows.append([round(rng.gauss(3 * k, 0.6), 4), round(rng.gauss(-2 * k, 0.6), 4), rng.random(), classes[k]])
    return {"columns": ["length", "width", "noise", "kind"], "rows": rows, "label_column": "kind"}


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[MLService]:
    made = MLService({"version": "test"}, settings)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def http(service: MLService) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(service.build_app())
    return httpx.AsyncClient(transport=transport, base_url="http://test")
