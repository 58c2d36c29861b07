"""What tests of the ML service share: a table to learn from, and a service that is started."""

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from seedcore.ml.registry.aliases import AliasCache, ModelAliases
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


def know_aliases(cache: AliasCache, aliases: ModelAliases = ModelAliases(1, {}, {})) -> None:  # noqa: B008 - frozen
    """Stands in for the database in unit tests: these are the aliases."""

    async def read() -> None:
        cache._known, cache._read_at, cache._reading = aliases, time.monotonic(), None

    cache._read = read  # type: ignore[method-assign]


@asynccontextmanager
async def started_service(settings: Settings) -> AsyncIterator[MLService]:
    """An ML service in this process, stopped at the end."""
    service = MLService({"version": "test"}, settings, background=False)
    if settings.pg_dsn is None:
        know_aliases(service.parts.aliases)
    await service.start()
    yield service
    await service.stop()
