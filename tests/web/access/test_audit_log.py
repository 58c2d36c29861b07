"""The audit log of a process: sums of refusals, bounds, and rows that cannot be written."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from seedcore.errors import UnavailableError
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.web.access import audit_log
from seedcore.web.access.audit_log import BURST_ROWS, OTHERS, AuditLog
from seedcore.web.access.audit_repository import AuditEntry

pytestmark = pytest.mark.integration


def refusal(n: int) -> AuditEntry:
    return AuditEntry("anonymous", "anonymous", None, "GET (no such path)", None, 401, f"10.0.{n // 256}.{n % 256}")


async def counts(dsn: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return list(await connection.fetch("select actor, (detail->>'count')::int as n from seedcore.audit"))
    finally:
        await connection.close()


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    made = Database(pg_settings, size=1)
    yield made
    await made.aclose()


async def test_a_flood_of_different_refusals_writes_few_rows_and_loses_no_count(
    database: Database, pg_dsn: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(audit_log, "SUM_S", 0.01)
    log = AuditLog(lambda: database, clock=lambda: 0.0)
    for n in range(20_000):
        log.note_refusal(refusal(n))
    async with asyncio.timeout(10):
        while len(await counts(pg_dsn)) < BURST_ROWS:
            await asyncio.sleep(0.01)
    for _ in range(20):
        await asyncio.sleep(0.01)
    assert len(await counts(pg_dsn)) == BURST_ROWS, "the bound holds while no time passes"
    await log.aclose()
    rows = await counts(pg_dsn)
    assert sum(row["n"] for row in rows) == 20_000
    assert len(rows) <= audit_log.MAX_DIFFERENT + 1
    assert [row["n"] for row in rows if row["actor"] == OTHERS] == [20_000 - audit_log.MAX_DIFFERENT]


async def test_a_row_that_cannot_be_written_is_counted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    class Away(Database):
        @asynccontextmanager
        async def connection(self, *, wait_s: float = 10.0) -> AsyncIterator[Any]:
            raise UnavailableError("PostgreSQL does not answer.")
            yield

    class Counted:
        total = 0

        def add(self, amount: int, **_labels: str) -> None:
            self.total += amount

    counted = {"seedcore_audit_failures_total": Counted()}
    monkeypatch.setattr(audit_log, "counter", counted.__getitem__)
    log = AuditLog(lambda: Away(settings))
    await log.record(refusal(1))
    assert counted["seedcore_audit_failures_total"].total == 1
    assert "audit row not written" in capsys.readouterr().out
