"""The Coordinator's part of the ledger: batches, what happens while the database is away, and V."""

from typing import Any

import pytest

from seedcore.coordinator import ledger_writer as module
from seedcore.coordinator.ledger_writer import EnergyBook
from seedcore.decision.agent_selection import Choices
from seedcore.decision.fleet_table import Fleet
from seedcore.fleet import flywheel, ledger_repository
from seedcore.fleet.flywheel import Turn
from seedcore.schemas.coordinator import EnergyTold
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

TABLE = {"epoch": 1, "skills": {"echo": "utility"}, "timeouts": {}, "organs": {}}


def told(task_type: str = "echo", outcomes: int = 2) -> EnergyTold:
    sums: dict[str, Any] = dict.fromkeys(EnergyTold.model_fields, 1.0)
    return EnergyTold(**{**sums, "type": task_type, "outcomes": outcomes, "failures": 1})


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet()
    made.update(TABLE)
    return made


async def test_what_is_told_is_summed_by_scope_and_written_once(pg_settings: Settings, fleet: Fleet):
    database = Database(pg_settings, size=1)
    book = EnergyBook(database, Choices(1.0, router="random"), pg_settings)
    book.take([told(), told("gone")], fleet)
    book.take([told(outcomes=3)], fleet)
    await book.write()
    await book.aclose()
    async with database.connection() as connection:
        rows = await ledger_repository.page(connection, None, None, 10)
    await database.aclose()
    found = {row["scope"]: row for row in rows}
    assert set(found) == {"utility/echo", "-/gone"}
    assert (found["utility/echo"]["outcomes"], found["utility/echo"]["router"]) == (5, "random")
    assert found["utility/echo"]["realised_delta"] == 2.0
    assert book.counts == {"entries": 2, "lost_outcomes": 0, "failed_writes": 0}


async def test_a_turn_of_the_flywheel_reaches_the_decisions(pg_settings: Settings):
    database, choices = Database(pg_settings, size=1), Choices(1.0)
    book = EnergyBook(database, choices, pg_settings)
    async with database.connection() as connection:
        await flywheel.add(connection, Turn(1.5, "test"), 1.0, {})
    await book.write()
    assert choices.v == 1.5
    await database.aclose()


async def test_while_the_database_is_away_sums_are_kept_within_bounds(
    settings: Settings, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
):
    class Away:
        def connection(self) -> Any:
            raise OSError("away")

    monkeypatch.setattr(module, "MOST_SCOPES", 1)
    book = EnergyBook(Away(), Choices(1.0), settings)
    book.take([told(), told("other", 7)], fleet)
    await book.write()
    book.take([told()], fleet)
    assert book.counts == {"entries": 0, "lost_outcomes": 7, "failed_writes": 1}
    assert book._sums["utility/echo"].outcomes == 4
