"""MySQL is migrated by the bootstrap, and one that is away holds up nothing."""

import time

import pytest

from bootstraps import bootstrap_mysql as module
from bootstraps.bootstrap_mysql import bootstrap_mysql
from seedcore.memory.flashbulbs.mysql_schema import MIGRATIONS
from seedcore.settings import load_settings
from seedcore.telemetry.metrics.metric_registry import REGISTRY
from tests.memory.flashbulbs.conftest import mariadb

__all__ = ["mariadb"]


@pytest.mark.integration
async def test_an_empty_mysql_has_the_newest_schema_afterwards(mariadb: str) -> None:
    settings = load_settings(mysql_dsn=f"{mariadb}/empty")
    assert await bootstrap_mysql(settings, time.monotonic() + 60) == len(MIGRATIONS)
    assert await bootstrap_mysql(load_settings(), time.monotonic() + 60) is None


@pytest.mark.integration
async def test_a_mysql_that_is_away_is_counted_as_a_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.01)
    REGISTRY.take()
    settings = load_settings(mysql_dsn="mysql+mysqlconnector://u:hunter2@127.0.0.1:1/x")
    assert await bootstrap_mysql(settings, time.monotonic() + 0.05) is None
    assert REGISTRY.take().counts["seedcore_fallbacks_total"] == {("flashbulb_postgres",): 1}
