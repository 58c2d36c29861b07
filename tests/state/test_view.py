"""The view of agents: read in increments, filtered, summed."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from seedcore.energy.rates import RateEstimate
from seedcore.organism.agent_store import AgentStore
from seedcore.organism.agents import AgentBook
from seedcore.settings import Settings
from seedcore.state import view as module
from seedcore.state.view import MARGIN, AgentView
from seedcore.stores.postgres import Database

pytestmark = pytest.mark.integration


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    made = Database(pg_settings)
    yield made
    await made.aclose()


@pytest.fixture
def view(database: Database) -> AgentView:
    return AgentView(database)


async def write(database: Database, organ: str, host: str, ids: list[str]) -> AgentBook:
    book = AgentBook(organ, ids)
    await AgentStore(database).save(host, book)
    return book


async def execute(database: Database, statement: str, *values: Any) -> None:
    async with database.connection() as connection:
        await connection.execute(statement, *values)


async def test_before_anything_was_written_there_is_nothing(view: AgentView):
    assert await view.refresh() == 0
    assert (view.agents(), view.organs()) == ({}, {})


async def test_agents_are_seen_as_their_hosts_wrote_them(database: Database, view: AgentView):
    book = await write(database, "utility", "h-0", ["u-0", "u-1"])
    book.accepted("u-0", "echo")
    book.accepted("u-0", "echo")
    book.left("u-0", "echo")
    book.learned("u-0", "echo", 2.0, ok=True)
    book.learned("u-0", "echo", 2.0, ok=False)
    await AgentStore(database).save("h-0", book)
    await view.refresh()
    agent = view.agents()["u-0"]
    assert (agent.organ, agent.host, agent.running, agent.completed, agent.failed) == ("utility", "h-0", 1, 1, 1)
    expected = RateEstimate()
    expected.add(1, 2.0, 1)
    expected.add(1, 2.0, 0)
    assert agent.rates["echo"].mean_s == pytest.approx(expected.mean_seconds())
    assert agent.rates["echo"].success == pytest.approx(expected.success())
    assert agent.rates["echo"].outcomes == pytest.approx(expected.weight, abs=0.001)
    assert agent.queued_s == pytest.approx(expected.mean_seconds())
    assert 0 <= agent.age_s < 60


async def test_only_what_changed_is_read_again(database: Database, view: AgentView, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MARGIN", 0)
    book = await write(database, "utility", "h-0", [f"u-{n}" for n in range(50)])
    assert await view.refresh() == 50
    assert await view.refresh() == 0
    book.accepted("u-7", "echo")
    await AgentStore(database).save("h-0", book)
    assert await view.refresh() == 1
    assert view.agents()["u-7"].running == 1
    assert len(view.agents()) == 50


async def test_a_change_whose_number_became_visible_late_is_seen(database: Database, view: AgentView):
    await write(database, "utility", "h-0", ["u-0"])
    assert database.settings.pg_dsn is not None
    slow = await asyncpg.connect(database.settings.pg_dsn.get_secret_value())
    transaction = slow.transaction()
    await transaction.start()
    await slow.execute("insert into seedcore.agents (id, organ, host) values ('late', 'utility', 'h-1')")
    await write(database, "utility", "h-2", [f"w-{n}" for n in range(MARGIN - 100)])
    await view.refresh()
    assert "late" not in view.agents()
    await transaction.commit()
    await slow.close()
    await view.refresh()
    assert "late" in view.agents()


async def test_an_older_row_never_replaces_a_newer_one(database: Database, view: AgentView):
    await write(database, "utility", "h-0", ["u-0"])
    await execute(database, "update seedcore.agents set running = 5, seq = nextval('seedcore.agent_change')")
    await view.refresh()
    await execute(database, "update seedcore.agents set running = 1, seq = 1")
    await view.refresh()
    assert view.agents()["u-0"].running == 5


async def test_agents_are_chosen_by_id_and_organ(database: Database, view: AgentView):
    await write(database, "utility", "h-0", ["u-0", "u-1"])
    await write(database, "ml", "h-1", ["m-0"])
    await view.refresh()
    assert list(view.agents()) == ["m-0", "u-0", "u-1"]
    assert list(view.agents(["u-1", "nobody"])) == ["u-1"]
    assert list(view.agents(None, ["ml"])) == ["m-0"]
    assert view.agents(["u-1"], ["ml"]) == view.agents([]) == view.agents(None, []) == {}


async def test_organs_are_the_sums_of_their_agents(database: Database, view: AgentView):
    book = await write(database, "utility", "h-0", ["u-0", "u-1"])
    await write(database, "ml", "h-1", ["m-0"])
    for agent in ("u-0", "u-1"):
        book.accepted(agent, "echo")
        book.learned(agent, "echo", 1.0, ok=agent == "u-0")
    await AgentStore(database).save("h-0", book)
    await view.refresh()
    organs = view.organs()
    assert list(organs) == ["ml", "utility"]
    utility = organs["utility"]
    assert (utility.agents, utility.running, utility.completed, utility.failed) == (2, 2, 1, 1)
    assert utility.queued_s == pytest.approx(sum(a.queued_s for a in view.agents(None, ["utility"]).values()))
    assert list(view.organs(["ml"])) == ["ml"]
    assert view.organs([]) == {}


async def test_the_age_grows_while_a_host_is_silent(database: Database, view: AgentView):
    await write(database, "utility", "h-0", ["u-0"])
    await execute(database, "update seedcore.agents set updated = now() - interval '90 seconds'")
    await view.refresh()
    first = view.agents()["u-0"].age_s
    assert 90 <= first < 150
    await view.refresh()
    assert view.agents()["u-0"].age_s >= first
