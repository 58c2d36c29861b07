"""The Coordinator's part of the ledger: batches, what happens while the database is away, and V."""

from typing import Any

import pytest

from seedcore.coordinator import ledger_writer as module
from seedcore.coordinator.ledger_writer import LedgerWriter
from seedcore.decision.agent_selection import RoutingState
from seedcore.decision.fleet_table import Fleet
from seedcore.fleet import flywheel, ledger_repository
from seedcore.fleet.flywheel import FlywheelTurn
from seedcore.schemas.coordinator import EnergyReport
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

TABLE = {"epoch": 1, "skills": {"echo": "utility"}, "timeouts": {}, "organs": {}}


def report(task_type: str = "echo", outcomes: int = 2) -> EnergyReport:
    sums: dict[str, Any] = dict.fromkeys(EnergyReport.__annotations__, 1.0)
    return EnergyReport(**{**sums, "type": task_type, "outcomes": outcomes, "failures": 1})


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet()
    made.update(TABLE)
    return made


async def test_what_is_reported_is_summed_by_scope_and_written_once(pg_settings: Settings, fleet: Fleet):
    database = Database(pg_settings, size=1)
    writer = LedgerWriter(database, RoutingState(1.0, router="random"), pg_settings)
    writer.record([report(), report("gone")], fleet)
    writer.record([report(outcomes=3)], fleet)
    await writer.write()
    await writer.aclose()
    async with database.connection() as connection:
        rows = await ledger_repository.page(connection, None, None, 10)
    await database.aclose()
    found = {row["scope"]: row for row in rows}
    assert set(found) == {"utility/echo", "-/gone"}
    assert (found["utility/echo"]["outcomes"], found["utility/echo"]["router"]) == (5, "random")
    assert found["utility/echo"]["realised_delta"] == 2.0
    assert (found["utility/echo"]["tokens"], found["utility/echo"]["money"]) == (2.0, 2.0)
    assert writer.counts == {"entries": 2, "lost_outcomes": 0, "failed_writes": 0}


async def test_a_turn_of_the_flywheel_reaches_the_decisions(pg_settings: Settings):
    database, routing = Database(pg_settings, size=1), RoutingState(1.0)
    writer = LedgerWriter(database, routing, pg_settings)
    async with database.connection() as connection:
        await flywheel.add(connection, FlywheelTurn(1.5, "test"), 1.0, {})
    await writer.write()
    assert routing.v == 1.5
    await database.aclose()


async def test_while_the_database_is_away_sums_are_kept_within_bounds(
    settings: Settings, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
):
    class Away:
        def connection(self) -> Any:
            raise OSError("away")

    monkeypatch.setattr(module, "MAX_SCOPES", 1)
    writer = LedgerWriter(Away(), RoutingState(1.0), settings)
    writer.record([report(), report("other", 7)], fleet)
    await writer.write()
    writer.record([report()], fleet)
    assert writer.counts == {"entries": 0, "lost_outcomes": 7, "failed_writes": 1}
    assert writer._sums["utility/echo"].outcomes == 4
