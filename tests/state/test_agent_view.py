"""The view of agents: read in increments, whatever order transactions commit in."""

import json
from typing import Any

import asyncpg
import orjson
import pytest

from seedcore.fleet.agent_reads import CHANGED_BATCH
from seedcore.fleet.agent_repository import AgentRepository
from seedcore.pricing.rates import RateEstimate
from seedcore.schemas.state import AgentState
from seedcore.state import agent_view as module
from seedcore.state.agent_view import SESSION, AgentView
from seedcore.stores.postgres import Database
from tests.state.conftest import Save, execute

pytestmark = pytest.mark.integration


@pytest.fixture
def view(database: Database) -> AgentView:
    return AgentView(database)


def agents(view: AgentView, *chosen: Any) -> dict[str, AgentState]:
    found = orjson.loads(view.columns.encode(view.columns.choose(*chosen)))
    return {agent_id: AgentState.model_validate(agent) for agent_id, agent in found.items()}


async def test_before_anything_was_written_there_is_nothing(view: AgentView):
    await view.read()
    assert (agents(view), view.columns.sums()) == ({}, {})


async def test_agents_are_seen_as_their_hosts_wrote_them(database: Database, view: AgentView, save: Save):
    book = await save("utility", "h-0", ["u-0", "u-1"])
    book.accept_one("u-0", "echo")
    book.accept_one("u-0", "echo")
    book.release("u-0", "echo")
    book.record_outcome("u-0", "echo", 2.0, ok=True)
    book.record_outcome("u-0", "echo", 2.0, ok=False)
    await AgentRepository(database).save("h-0", book)
    await view.read()
    agent = agents(view)["u-0"]
    assert (agent.organ, agent.host, agent.running, agent.completed, agent.failed) == ("utility", "h-0", 1, 1, 1)
    expected = RateEstimate()
    expected.add(1, 2.0, 1)
    expected.add(1, 2.0, 0)
    assert agent.rates["echo"].mean_s == pytest.approx(expected.mean_seconds(), abs=1e-6)
    assert agent.rates["echo"].success == pytest.approx(expected.success(), abs=1e-6)
    assert agent.rates["echo"].outcomes == pytest.approx(expected.weight, abs=0.001)
    assert agent.queued_s == pytest.approx(expected.mean_seconds())
    assert 0 <= agent.age_s < 60


async def test_only_what_changed_is_read_again(
    database: Database, view: AgentView, save: Save, monkeypatch: pytest.MonkeyPatch
):
    book = await save("utility", "h-0", [f"u-{n}" for n in range(50)])
    await view.read()
    update, read = view.columns.update, list[str]()
    monkeypatch.setattr(view.columns, "update", lambda batch: (read.extend(batch.id), update(batch)))
    await view.read()
    assert read == []
    book.accept_one("u-7", "echo")
    await AgentRepository(database).save("h-0", book)
    await view.read()
    assert read == ["u-7"]
    assert agents(view)["u-7"].running == 1
    assert len(view.columns) == 50


async def test_everything_is_read_the_first_time_page_by_page(
    database: Database, view: AgentView, save: Save, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "PAGE", 7)
    # Ids that sort in one way here and in another in a database with a language.
    ids = [f"{letter}{n}" for n in range(5) for letter in "aBü-_Z"]
    await save("utility", "h-0", ids)
    await view.read()
    assert sorted(agents(view)) == sorted(ids)


@pytest.mark.parametrize("first", ["early", "late"])
async def test_of_two_interleaved_writers_neither_is_missed(
    database: Database, view: AgentView, save: Save, first: str
):
    await view.read()
    assert database.settings.pg_dsn is not None
    dsn = database.settings.pg_dsn.get_secret_value()
    writers = {name: await asyncpg.connect(dsn) for name in ("early", "late")}
    open_ones = {name: writer.transaction() for name, writer in writers.items()}
    for name in ("early", "late"):
        await open_ones[name].start()
        await writers[name].execute("insert into seedcore.agents (id, organ, host) values ($1, 'utility', 'h')", name)
    second = {"early": "late", "late": "early"}[first]
    await open_ones[first].commit()
    await view.read()
    assert set(agents(view)) == {first}
    await save("utility", "h-2", [f"w-{n}" for n in range(1500)])
    await view.read()
    await view.read()
    assert second not in agents(view)
    await open_ones[second].commit()
    await view.read()
    assert set(agents(view)) >= {first, second}
    for writer in writers.values():
        await writer.close()


async def test_what_changed_while_the_first_pages_were_read_is_read_again(
    database: Database, view: AgentView, save: Save
):
    book = await save("utility", "h-0", ["a", "b"])
    read_all = view._read_all

    async def change_in_between(connection: asyncpg.Connection) -> Any:
        seen = await read_all(connection)
        book.accept_one("a", "echo")
        await AgentRepository(database).save("h-0", book)
        return seen

    view._read_all = change_in_between  # type: ignore[method-assign]
    await view.read()
    await view.read()
    assert agents(view)["a"].running == 1


async def test_hosts_of_the_release_before_are_seen_too(database: Database, view: AgentView, save: Save):
    await save("utility", "h-0", ["u-0"])
    await view.read()
    await execute(
        database,
        "insert into seedcore.agents (id, organ, host, running) values ('u-0', 'utility', 'h-0', 5)"
        " on conflict (id) do update set running = excluded.running, seq = nextval('seedcore.agent_change')",
    )
    await view.read()
    assert agents(view)["u-0"].running == 5


async def test_agents_are_chosen_by_id_and_organ(view: AgentView, save: Save):
    await save("utility", "h-0", ["u-1", "u-0"])
    await save("ml", "h-1", ["m-0"])
    await view.read()
    assert list(agents(view)) == ["m-0", "u-0", "u-1"]
    assert list(agents(view, ["u-1", "nobody", "u-1"])) == ["u-1"]
    assert list(agents(view, None, ["ml", "nowhere"])) == ["m-0"]
    assert agents(view, ["u-1"], ["ml"]) == agents(view, []) == agents(view, None, []) == {}


async def test_organs_are_the_sums_of_their_agents(database: Database, view: AgentView, save: Save):
    book = await save("utility", "h-0", ["u-0", "u-1"])
    await save("ml", "h-1", ["m-0"])
    for agent in ("u-0", "u-1"):
        book.accept_one(agent, "echo")
        book.record_outcome(agent, "echo", 1.0, ok=agent == "u-0")
    await AgentRepository(database).save("h-0", book)
    await view.read()
    organs = view.columns.sums()
    assert list(organs) == ["ml", "utility"]
    utility = organs["utility"]
    assert [utility[name] for name in ("agents", "running", "completed", "failed")] == [2, 2, 1, 1]
    assert utility["queued_s"] == pytest.approx(sum(a.queued_s for a in agents(view, None, ["utility"]).values()))


async def test_the_age_grows_while_a_host_is_silent(database: Database, view: AgentView, save: Save):
    await save("utility", "h-0", ["u-0"])
    await execute(database, "update seedcore.agents set updated = now() - interval '90 seconds'")
    await view.read()
    first = agents(view)["u-0"].age_s
    assert 90 <= first < 150
    await view.read()
    assert agents(view)["u-0"].age_s >= first


async def test_changes_are_found_by_their_index(database: Database, save: Save):
    await save("utility", "h-0", [f"u-{n}" for n in range(3000)])
    stateful = Database(database.settings, session=SESSION)
    async with stateful.connection() as connection:
        await connection.execute("analyze seedcore.agents")
        for known in ("3", "9999999"):
            plan = json.dumps(
                await connection.fetch(f"explain (format json) {CHANGED_BATCH}", known, ["5", "6"]), default=str
            )
            assert "agents_change" in plan
            assert "Seq Scan" not in plan
    await stateful.aclose()
