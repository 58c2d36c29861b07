"""Tasks with several limit keys and costs: admitted by all keys at once, or waiting at the one that stopped them."""

import asyncio
import json
from collections.abc import Coroutine, Iterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from seedcore.stores.postgres import ENGINE_SESSION
from seedcore.tasks import commands, leases, limits, reaping, sessions
from seedcore.tasks.model import Lease, Limit, Outcome, Retry, Status, TaskSpec
from seedcore.tasks.submission.submit import submit
from tests.conftest import _database, _execute
from tests.tasks.engine_support import claim, done, submitted, task

pytestmark = pytest.mark.integration


def several(value: int, *keys: tuple[str, float], **options: Any) -> TaskSpec:
    """A task with these keys and costs."""
    found = tuple(Limit(key, cost=cost) for key, cost in sorted(keys))
    return task(value, limit=found[0], limits=found, **options)


async def let(
    connection: asyncpg.Connection, key: str, running: int | None, per_s: float | None = None, burst: int = 1
):
    await limits.put(connection, key, running, per_s, burst)
    if per_s is not None:
        await connection.execute("update seedcore.limits set tokens = burst, refilled_at = now() where key = $1", key)


async def pass_time(connection: asyncpg.Connection, seconds: float) -> None:
    await connection.execute(
        "update seedcore.limits set refilled_at = refilled_at - make_interval(secs => $1)", seconds
    )


async def gates(connection: asyncpg.Connection) -> dict[UUID, str]:
    return {row["id"]: row["key"] for row in await connection.fetch("select id, key from seedcore.gated")}


async def test_a_task_runs_when_all_its_keys_have_room_and_holds_a_place_of_each(connection, session):
    await let(connection, "a", 2)
    await let(connection, "b", 1)
    first, second = await submitted(connection, several(1, ("a", 1), ("b", 1)), several(2, ("a", 1), ("b", 1)))
    (only_a,) = await submitted(connection, task(3, limit=Limit("a")))
    assert await reaping.admit(connection) == 2
    assert await gates(connection) == {second: "b"}
    held = await claim(connection, session)
    assert {lease.id for lease in held} == {first, only_a}
    assert [(await limits.get(connection, key)).running for key in "ab"] == [2, 1]
    # The second one left the line of `a`, and is tried against both when `b` lets go.
    await leases.finish(connection, [done(lease) for lease in held if lease.id == first])
    assert {lease.id for lease in await claim(connection, session)} == {second}


async def test_a_task_takes_its_cost_of_each_keys_tokens(connection):
    await let(connection, "tokens", None, per_s=100, burst=1000)
    await let(connection, "calls", None, per_s=1, burst=10)
    ids = await submitted(connection, *(several(n, ("tokens", 400), ("calls", 1)) for n in range(4)))
    assert await reaping.admit(connection) == 2
    assert await gates(connection) == dict.fromkeys(ids[2:], "tokens")
    due = await connection.fetchval(
        "select extract(epoch from next_at - clock_timestamp())::float8 from seedcore.limits where key = 'tokens'"
    )
    assert due == pytest.approx(2.0, abs=0.5)
    await pass_time(connection, 2)
    assert await reaping.admit(connection) == 1
    await pass_time(connection, 4)
    assert await reaping.admit(connection) == 1


async def test_the_reaper_hears_when_tokens_are_due_although_an_end_found_that_out(connection, session, heard):
    """Two may run, so the third is held against its tokens only when a place is free: by a worker."""
    await let(connection, "running", 2)
    await let(connection, "tokens", None, per_s=1, burst=140)
    await submitted(connection, *(several(n, ("running", 1), ("tokens", 50)) for n in range(4)))
    assert await reaping.admit(connection) == 2
    held = await claim(connection, session)
    heard.clear()
    await leases.finish(connection, [done(lease) for lease in held])
    async with asyncio.timeout(5):
        while not heard:
            await connection.fetch("select 1")
    assert heard == [pytest.approx(10, abs=5)]
    await reaping.admit(connection)
    await connection.fetch("select 1")
    assert len(heard) == 1, "it knows already"


async def test_one_key_with_a_cost_counts_it_too(connection):
    await let(connection, "tokens", None, per_s=1, burst=10)
    await submitted(connection, several(1, ("tokens", 7)), several(2, ("tokens", 3)), several(3, ("tokens", 3)))
    assert await reaping.admit(connection) == 2


async def test_what_costs_more_than_the_bucket_holds_goes_when_it_is_full_and_leaves_a_debt(connection):
    await let(connection, "k", None, per_s=10, burst=100)
    large, small = await submitted(connection, several(1, ("k", 80)), several(2, ("k", 1)))
    await connection.execute("update seedcore.limits set burst = 20, tokens = 10, refilled_at = now() where key = 'k'")
    assert await reaping.admit(connection) == 0
    await pass_time(connection, 1)
    assert await reaping.admit(connection) == 1
    assert await gates(connection) == {small: "k"}
    assert await connection.fetchval("select tokens from seedcore.limits where key = 'k'") == pytest.approx(-60, abs=1)
    await pass_time(connection, 5.5)
    assert await reaping.admit(connection) == 0
    await pass_time(connection, 0.7)
    assert await reaping.admit(connection) == 1
    assert large not in await gates(connection)


@pytest.mark.parametrize("way", ["finish", "retry", "cancel", "lost"])
async def test_whatever_ends_an_attempt_gives_all_its_places_away(pg_settings, connection, session, way: str):
    for key in "abc":
        await let(connection, key, 1)
    await submitted(connection, several(0, ("a", 1), ("b", 1), ("c", 1)))
    await reaping.admit(connection)
    (lease,) = await claim(connection, session)
    waiting = await submitted(connection, *(task(key, limit=Limit(key)) for key in "abc"))
    assert await reaping.admit(connection) == 0
    other = uuid4()
    await sessions.open_session(connection, other, "other", "default", 60)
    if way == "finish":
        await leases.finish(connection, [done(lease)])
    elif way == "retry":
        await leases.retry(connection, [Retry(lease.id, lease.token, 60, "x", "x", lease.limit_key)])
    elif way == "cancel":
        await commands.cancel(connection, lease.id)
    else:
        await sessions.close_session(connection, session)
        await reaping.reap(connection, pg_settings)
    assert {found.id for found in await claim(connection, other)} >= set(waiting)


async def test_two_who_want_the_same_keys_in_turn_do_not_wait_for_each_other(database, connection, session):
    """Ends of tasks of different keys, at once, while tasks wait for pairs of them."""
    keys = "abcd"
    for key in keys:
        await let(connection, key, 3)
    pairs = [(x, y) for x in keys for y in keys if x < y]
    await submitted(connection, *(several(n, *((key, 1.0) for key in pairs[n % 6])) for n in range(120)))
    await reaping.admit(connection)

    async def work() -> int:
        ended = 0
        async with database.connection() as own:
            while found := await leases.claim(own, "default", session, 2):
                await leases.finish(own, [done(lease) for lease in found])
                ended += len(found)
        return ended

    async with asyncio.timeout(60):
        total = 0
        while total < 120:
            total += sum(await asyncio.gather(*[work() for _ in range(4)]))
            await reaping.admit(connection)
    assert await gates(connection) == {}


KEYS = ("one", "two", "rated", "both")
RUNNING = {"one": 1, "two": 2, "rated": None, "both": 2}
RATE: dict[str, tuple[float, int]] = {"rated": (1.0, 10), "both": (0.5, 4)}
TABLES = "tasks ready deferred gated limits admitted leases finished dead events sessions"
LOG = """
create table taken (key text, cost float8);
create function note_taken() returns trigger language plpgsql as $$
begin
  insert into taken values (new.key, new.cost);
  return new;
end $$;
create trigger note_taken before insert on seedcore.admitted for each row execute function note_taken();
"""
TAKEN = """
select key, sum(cost) as taken, extract(epoch from clock_timestamp() - $1)::float8 as elapsed from taken group by key
"""
costs = st.sampled_from([0.5, 1.0, 1.0, 2.0, 4.0])


class SeveralLimits(RuleBasedStateMachine):
    """Whatever is done: never more of a key at once than it allows, never more tokens than came, and all end."""

    runner: asyncio.Runner
    connection: asyncpg.Connection

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @initialize()
    def begin(self) -> None:
        clean = ";".join(f"delete from seedcore.{table}" for table in TABLES.split())
        self.run(self.connection.execute(f"{clean}; delete from taken"))
        self.session = uuid4()
        self.run(sessions.open_session(self.connection, self.session, "d", "default", 3600))
        self.leased: list[Lease] = []
        self.needs: dict[UUID, dict[str, float]] = {}
        self.passed = 0.0
        self.started = self.run(self.connection.fetchval("select clock_timestamp()"))
        for key in KEYS:
            per_s, burst = RATE.get(key, (None, 1))
            self.run(let(self.connection, key, RUNNING[key], per_s, burst))

    @rule(wanted=st.dictionaries(st.sampled_from(KEYS), costs, min_size=1, max_size=3), count=st.integers(1, 4))
    def tasks_are_submitted(self, wanted: dict[str, float], count: int) -> None:
        batch = [several(n, *wanted.items()) for n in range(count)]
        self.run(submit(self.connection, batch))
        for spec in batch:
            self.needs[spec.id] = wanted

    @rule()
    def the_reaper_lets_through(self) -> None:
        self.run(reaping.promote(self.connection))
        self.run(reaping.admit(self.connection))

    @rule(most=st.integers(1, 4))
    def tasks_are_claimed(self, most: int) -> None:
        self.leased += self.run(leases.claim(self.connection, "default", self.session, most))

    @precondition(lambda self: self.leased)
    @rule(pick=st.integers(0, 100), way=st.sampled_from(["done", "done", "failed", "retried", "released", "cancelled"]))
    def one_ends(self, pick: int, way: str) -> None:
        lease = self.leased.pop(pick % len(self.leased))
        if way == "retried":
            self.run(leases.retry(self.connection, [Retry(lease.id, lease.token, 0.0, "x", "x", lease.limit_key)]))
        elif way == "released":
            self.run(leases.release(self.connection, [(lease.id, lease.token)]))
        elif way == "cancelled":
            self.run(commands.cancel(self.connection, lease.id))
        else:
            status = Status.COMPLETED if way == "done" else Status.FAILED
            outcome = Outcome(lease.id, lease.token, status, '{"value": 1}', follow_up=True)
            if status is Status.FAILED:
                outcome.result, outcome.error_code, outcome.error_message = None, "boom", "boom"
            assert self.run(leases.finish(self.connection, [outcome])) == {lease.id}

    @rule(seconds=st.sampled_from([0.5, 2.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.passed += seconds
        self.run(pass_time(self.connection, seconds))

    @invariant()
    def no_key_runs_more_than_it_allows(self) -> None:
        rows = self.run(self.connection.fetch("select id from seedcore.ready union all select id from seedcore.leases"))
        for key, most in RUNNING.items():
            running = sum(key in self.needs[row["id"]] for row in rows)
            assert most is None or running <= most, f"{running} of {key}"

    @invariant()
    def no_key_gives_more_tokens_than_came(self) -> None:
        for row in self.run(self.connection.fetch(TAKEN, self.started)):
            if row["key"] in RATE:
                per_s, burst = RATE[row["key"]]
                assert row["taken"] <= burst + per_s * (self.passed + row["elapsed"]) + 1e-6

    def teardown(self) -> None:
        """All end, however it came."""
        for _ in range(400):
            left = self.run(
                self.connection.fetchval("""
                  select (select count(*) from seedcore.ready) + (select count(*) from seedcore.leases)
                       + (select count(*) from seedcore.gated) + (select count(*) from seedcore.deferred)""")
            )
            if not left:
                break
            self.leased += self.run(leases.claim(self.connection, "default", self.session, 100))
            outcomes = [done(lease) for lease in self.leased]
            self.leased = []
            self.run(leases.finish(self.connection, outcomes))
            self.time_passes(10.0)
            self.the_reaper_lets_through()
        else:
            pytest.fail(f"{left} tasks never end")
        # Nothing holds a place any more once its key is looked at.
        for key in KEYS:
            self.run(self.connection.execute("select seedcore.admit(array[$1])", key))
        assert self.run(self.connection.fetchval("select count(*) from seedcore.admitted")) == 0


@pytest.fixture
def machine(postgres_server: str) -> Iterator[type[SeveralLimits]]:
    """The machine, bound to a database and a loop of its own."""
    name = f"t{uuid4().hex[:12]}"
    with asyncio.Runner() as runner:
        runner.run(_execute(postgres_server, f"create database {name} template template_seedcore"))
        session = {**ENGINE_SESSION, "synchronous_commit": "off"}
        connection = runner.run(asyncpg.connect(_database(postgres_server, name), server_settings=session))
        runner.run(connection.execute(LOG))
        yield type("BoundLimits", (SeveralLimits,), {"runner": runner, "connection": connection})
        runner.run(connection.close())
        runner.run(_execute(postgres_server, f"drop database {name} with (force)"))


def test_limits_hold_and_everything_ends_whatever_happens(machine: type[SeveralLimits]):
    run_machine(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


async def test_waiting_limits_are_shown_as_submitted(connection):
    (one,) = await submitted(connection, several(1, ("a", 1), ("b", 2)))
    stored = await connection.fetchval("select limits::text from seedcore.gated where id = $1", one)
    assert json.loads(stored) == [{"key": "a", "cost": 1}, {"key": "b", "cost": 2}]


@pytest.mark.parametrize("cost", [1, 1e9])
async def test_a_debt_that_takes_longer_than_time_can_say_stops_no_other_key(connection, cost: float):
    await let(connection, "a", None, per_s=1e-8, burst=1_000_000)
    await let(connection, "z", 1)
    await submitted(connection, several(1, ("a", 1e9)))
    assert await reaping.admit(connection) == 1
    waits = several(2, ("a", cost)) if cost != 1 else task(2, limit=Limit("a"))
    await submitted(connection, waits, task(3, limit=Limit("z")))
    assert await reaping.admit(connection) == 1
    assert set((await gates(connection)).values()) == {"a"}


async def test_a_transaction_that_stays_open_with_a_key_holds_up_no_other(connection, database, session):
    """Whoever may submit from SQL may leave a transaction open that changed a limit."""
    for key in "ab":
        await let(connection, key, 1)
    both = [task(n, limit=Limit(key)) for n, key in enumerate("aabb")]
    await submitted(connection, *both, several(5, ("a", 1), ("c", 1)))
    assert await reaping.admit(connection) == 2
    held = await claim(connection, session)
    async with database.connection() as other, asyncio.timeout(20):
        async with other.transaction():
            options = {"limit": {"key": "a", "max_running": 2}}
            await other.execute("select seedcore.enqueue('echo', '{\"value\": 1}', $1)", json.dumps(options))
            await leases.finish(connection, [done(lease) for lease in held])
            assert [lease.limit_key for lease in await claim(connection, session)] == ["b"]
            assert await reaping.admit(connection) == 0
        assert await reaping.admit(connection) == 2


async def test_who_passes_over_a_key_wakes_the_reaper(connection, database):
    await let(connection, "a", 1)
    await submitted(connection, task(1, limit=Limit("a")), several(2, ("a", 1), ("b", 1)))
    heard: asyncio.Queue[str] = asyncio.Queue()

    def hear(*args: Any) -> None:
        heard.put_nowait(args[-1])

    await connection.add_listener("seedcore_later", hear)
    async with database.connection() as other, other.transaction():
        await other.execute("select from seedcore.limits where key = 'a' for update")
        assert await reaping.admit(connection) == 0
        async with asyncio.timeout(10):
            assert await heard.get() == "0.1"
    await connection.remove_listener("seedcore_later", hear)


async def test_many_keys_are_let_through_some_at_a_time(connection, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reaping, "KEYS_AT_ONCE", 2)
    await submitted(connection, *(several(n, (key, 2)) for n, key in enumerate("abcde")))
    assert await reaping.admit(connection) == 5
