"""What the live energy knows beside State: evidence weighed by traffic, and agents that share plans."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.energy.fleet_facts import MAX_AGENTS, FleetFacts, pairs, read_fleet_facts, traffic
from seedcore.fleet.ledger_repository import LedgerEntry, append
from seedcore.pricing.outcome_sums import Sums
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.tasks.history import StepsOfAgent
from seedcore.tasks.sql.history import STEPS_BY_AGENT

COUNTS = st.integers(0, 1000)


@given(st.dictionaries(st.sampled_from(["a", "x/a", "y/a", "b", "x/b", "c/d", "d"]), COUNTS), st.data())
def test_shares_of_traffic_sum_to_at_most_1(seen: dict[str, int], data: st.DataObject):
    ended = data.draw(st.dictionaries(st.sampled_from(["a", "b", "d", "c/d"]), COUNTS))
    shares = traffic(seen, ended)
    assert shares.keys() == seen.keys()
    assert all(share >= 0 for share in shares.values())
    assert sum(shares.values()) <= 1 + 1e-9


def test_streams_of_one_type_share_its_tasks_and_the_longest_type_is_meant():
    shares = traffic({"a": 30, "x/a": 10, "c/d": 5, "idle": 9}, {"a": 60, "c/d": 20, "d": 20})
    assert shares == {"a": 0.45, "x/a": 0.15, "c/d": 0.2, "idle": 0.0}


def test_pairs_share_open_plans_and_are_judged_by_all_their_plans():
    found = pairs(
        [
            StepsOfAgent("old", False, "a", 3, 1),
            StepsOfAgent("old", False, "b", 1, 0),
            StepsOfAgent("new", True, "b", 2, 2),
            StepsOfAgent("new", True, "a", 2, 1),
            StepsOfAgent("other", False, "c", 5, 5),
            StepsOfAgent("other", False, "a", 5, 5),
        ]
    )
    assert [(pair.agents, pair.steps, pair.success) for pair in found] == [(("a", "b"), 4.0, 0.5)]


def test_pairs_of_one_plan_are_bounded():
    found = pairs([StepsOfAgent("p", True, f"a{n:03}", 1, 1) for n in range(200)])
    assert len(found) == MAX_AGENTS * (MAX_AGENTS - 1) // 2


@pytest.mark.integration
async def test_without_valves_traffic_and_plans_the_reasons_are_given(pg_settings: Settings):
    database = Database(pg_settings, name="test")
    async with database.connection() as connection:
        nothing = await read_fleet_facts(connection)
        await _valve(connection, "echo", 0.25, 10)
        idle = await read_fleet_facts(connection)
    await database.aclose()
    assert nothing == FleetFacts(absent=nothing.absent)
    assert nothing.absent.keys() == {"drift", "collaboration"}
    assert "no task ended" in idle.absent["drift"]


@pytest.mark.integration
async def test_evidence_and_plans_come_from_what_is_stored(pg_settings: Settings):
    database = Database(pg_settings, name="test")
    async with database.connection() as connection:
        await _valve(connection, "echo", 0.25, 30)
        await _valve(connection, "shop/echo", 0.5, 10)
        await _valve(connection, "learning", None, 5)
        await append(
            connection, [LedgerEntry(f"o/{t}", "energy", 1.0, Sums(outcomes=50)) for t in ("echo", "learning")]
        )
        for over, agents in ((False, "ab"), (True, "ab"), (True, "ac")):
            await _plan(connection, agents, over=over)
        found = await read_fleet_facts(connection)
    await database.aclose()
    assert found.drift == {"echo": 0.25, "shop/echo": 0.5}
    assert found.traffic == {"echo": 0.375, "shop/echo": 0.125}
    assert found.collaboration is not None
    assert [(p.agents, p.steps, p.success) for p in found.collaboration] == [(("a", "b"), 2.0, 0.5)]
    assert found.absent == {}


@pytest.mark.integration
async def test_the_history_of_tasks_is_not_read_for_a_few_plans(pg_settings: Settings):
    database = Database(pg_settings, name="test")
    async with database.connection() as connection:
        await connection.execute("""
            with made as (insert into seedcore.tasks (id, type, params, max_attempts)
                          select seedcore.new_id(), 'echo', '{}', 1 from generate_series(1, 30000) returning id)
            insert into seedcore.finished (id, tick, status, attempts) select id, 1, 'completed', 1 from made""")
        for _ in range(20):
            await _plan(connection, "abc", over=True)
        await connection.execute("analyze seedcore.tasks, seedcore.finished, seedcore.plans, seedcore.dead")
        lines = [row[0] for row in await connection.fetch(f"explain {STEPS_BY_AGENT}", 3600.0, 500)]
    await database.aclose()
    for table in ("tasks_d", "finished_d"):
        assert any("Index" in line and table in line for line in lines), "\n".join(lines)
        large = [line for line in lines if "Seq Scan on" in line and table in line and "rows=30" in line]
        assert large == [], "\n".join(lines)


async def _valve(connection: Any, stream: str, evidence: float | None, seen: int) -> None:
    facts = json.dumps({"evidence": evidence, "seen": seen})
    await connection.execute(
        "insert into seedcore.valves (stream, watch, recent, facts) values ($1, 'work', '', $2)", stream, facts
    )


async def _plan(connection: Any, agents: str, *, over: bool) -> None:
    """A plan of which each agent ended a step: the first of them well, the others not."""
    plan = await _task(connection, None)
    await connection.execute("insert into seedcore.plans (id) values ($1)", plan)
    if not over:
        await connection.execute("insert into seedcore.held (id, status, plan) values ($1, 'waiting', '{}')", plan)
    for n, agent in enumerate(agents):
        step = await _task(connection, plan)
        decision = json.dumps({"agent": agent})
        ended = (
            "finished (id, tick, status, attempts, decision) values ($1, 1, 'completed', 1, $2)"
            if n == 0
            else "dead (id, tick, attempts, error_code, decision) values ($1, 1, 1, 'x', $2)"
        )
        await connection.execute(f"insert into seedcore.{ended}", step, decision)


async def _task(connection: Any, parent: UUID | None) -> UUID:
    made = await connection.fetchval(
        "insert into seedcore.tasks (id, type, params, max_attempts, parent_id, step) "
        "values (seedcore.new_id(), 'echo', '{}', 1, $1, $2) returning id",
        parent,
        None if parent is None else uuid4().hex,
    )
    return UUID(str(made))
