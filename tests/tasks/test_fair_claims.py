"""Claims with several tenants and priorities on a real PostgreSQL: turns, ageing, dead rows, several claimants."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from uuid import UUID, uuid4

import asyncpg
import pytest

from seedcore.stores.postgres import Database
from seedcore.tasks import leases, sessions, tenants
from seedcore.tasks.claims import ageing, claim_cursor, claim_position
from seedcore.tasks.claims.claim_cursor import ClaimCursor
from seedcore.tasks.model import Lease
from tests.tasks.engine_support import done, submitted, task

pytestmark = pytest.mark.integration


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (ageing, claim_cursor, claim_position):
        monkeypatch.setattr(module, "time", clock)
    return clock


async def fill(connection: asyncpg.Connection, tenant: str, count: int, priority: int = 0) -> list[UUID]:
    return await submitted(connection, *(task(n, tenant=tenant, priority=priority) for n in range(count)))


async def claim(
    connection: asyncpg.Connection, session: UUID, cursor: ClaimCursor, most: int, ended: Sequence[Lease] = ()
) -> list[Lease]:
    if not ended:
        return await leases.claim(connection, "default", session, most, cursor=cursor)
    outcomes = [done(lease) for lease in ended]
    accepted, claimed = await leases.finish_and_claim(connection, outcomes, "default", session, most, cursor=cursor)
    assert accepted == {lease.id for lease in ended}
    return claimed


def by_tenant(claimed: Sequence[Lease]) -> Counter[str]:
    return Counter(lease.tenant for lease in claimed)


def jain(counts: Sequence[float]) -> float:
    return sum(counts) ** 2 / (len(counts) * sum(c * c for c in counts))


@pytest.mark.parametrize("together", [False, True])
async def test_the_first_claim_already_gives_all_the_same(connection, session, together: bool):
    await fill(connection, "big", 2000)
    for name in ("acme", "default", "zeta"):
        await fill(connection, name, 100)
    cursor, ended = ClaimCursor(), []
    if together:
        (alone,) = await fill(connection, "big", 1, priority=9)
        ended = await claim(connection, session, cursor, 1)
        assert [lease.id for lease in ended] == [alone]
    assert set(by_tenant(await claim(connection, session, cursor, 100, ended)).values()) <= {24, 25, 26}


async def test_weights_hold_in_claims_of_one_and_of_many(connection, session, clock: Clock):
    for name, weight in (("a", 1), ("b", 2), ("c", 4)):
        await fill(connection, name, 800)
        await tenants.put(connection, name, weight)
    cursor, found = ClaimCursor(), Counter[str]()
    for most in (*[1] * 70, *[70] * 9):
        clock.now += 0.01
        found += by_tenant(await claim(connection, session, cursor, most))
    assert {name: round(count / found.total(), 2) for name, count in found.items()} == {"a": 0.14, "b": 0.29, "c": 0.57}


async def test_a_new_weight_is_read_within_a_second(connection, session, clock: Clock):
    for name in "ab":
        await fill(connection, name, 500)
    cursor = ClaimCursor()
    assert by_tenant(await claim(connection, session, cursor, 100)) == {"a": 50, "b": 50}
    await tenants.put(connection, "a", 9)
    clock.now += 1.01
    await claim(connection, session, cursor, 100)
    assert by_tenant(await claim(connection, session, cursor, 100)) == {"a": 90, "b": 10}


async def test_a_claim_is_full_while_there_is_work_whoever_has_it(connection, session, clock: Clock):
    await fill(connection, "a", 3)
    await fill(connection, "b", 5)
    await fill(connection, "c", 500)
    cursor = ClaimCursor()
    assert by_tenant(await claim(connection, session, cursor, 100)) == {"a": 3, "b": 5, "c": 92}
    # A tenant that came since the last look, and one that is known no more.
    await fill(connection, "d", 2)
    assert len(await claim(connection, session, cursor, 409)) == 409
    assert len(await claim(connection, session, cursor, 10)) == 1
    assert await connection.fetchval("select count(*) from seedcore.ready") == 0


async def test_one_who_submits_its_first_task_is_served_with_the_next_claims(connection, session, clock: Clock):
    await fill(connection, "big", 3000)
    cursor, ended = ClaimCursor(), await claim(connection, session, ClaimCursor(), 100)
    for _ in range(3):
        clock.now += 0.02
        ended = await claim(connection, session, cursor, 100, ended)
    for name in ("new", "another"):
        await fill(connection, name, 1)
    got = Counter[str]()
    for _ in range(6):
        clock.now += 0.02
        ended = await claim(connection, session, cursor, 100, ended)
        got += by_tenant(ended)
    assert (got["new"], got["another"], got["big"]) == (1, 1, 598)


async def test_the_best_priority_goes_first_whoever_has_it(connection, session, clock: Clock):
    for name in "ab":
        await fill(connection, name, 50)
    cursor = ClaimCursor()
    await claim(connection, session, cursor, 10)
    await fill(connection, "b", 20, priority=5)
    await fill(connection, "c", 20, priority=7)
    claimed = await claim(connection, session, cursor, 30)
    assert [lease.priority for lease in claimed] == [7] * 20 + [5] * 10
    # A batch reaches over priorities, in turns within each.
    claimed = await claim(connection, session, cursor, 30)
    assert Counter((lease.priority, lease.tenant) for lease in claimed) == {(5, "b"): 10, (0, "a"): 15, (0, "b"): 5}
    both = by_tenant(claimed) + by_tenant(await claim(connection, session, cursor, 25))
    assert abs(both["a"] - both["b"] + 10) <= 15


async def test_all_of_a_thousand_tenants_have_their_turn(connection, session, clock: Clock):
    await connection.execute("""
      insert into seedcore.tasks (id, type, params, max_attempts, tenant)
      select seedcore.new_id(), 'echo', '{"value": 1}', 5, 't' || n % 1000 from generate_series(1, 4000) n;
      insert into seedcore.ready (id, queue, rank, tenant) select id, queue, 0, tenant from seedcore.tasks""")
    cursor, found = ClaimCursor(), Counter[str]()
    for _ in range(20):
        clock.now += 0.06
        claimed = await claim(connection, session, cursor, 100)
        assert len(claimed) == 100
        found += by_tenant(claimed)
    # Every tenant was found within twenty looks and claims, none has had more than two turns.
    assert len(found) > 600
    assert max(found.values()) <= 4


async def test_claimants_together_are_fair_and_never_wait_for_each_other(database: Database, connection, session):
    """Each in a transaction that stays open: whoever locks, the others go round it."""
    for n in range(10):
        await fill(connection, f"t{n}", 200)
    cursors, found = [ClaimCursor() for _ in range(3)], Counter[str]()
    async with asyncio.timeout(30):
        for _ in range(4):
            connections = [await database.connect() for _ in cursors]
            transactions = [one.transaction() for one in connections]
            for transaction in transactions:
                await transaction.start()
            seen: set[UUID] = set()
            for one, cursor in zip(connections, cursors, strict=True):
                claimed = await claim(one, session, cursor, 100)
                assert len(claimed) == 100
                assert not seen & {lease.id for lease in claimed}
                seen |= {lease.id for lease in claimed}
                found += by_tenant(claimed)
            for one, transaction in zip(connections, transactions, strict=True):
                await transaction.commit()
                await one.close()
    assert jain([found[f"t{n}"] for n in range(10)]) > 0.99


async def test_dead_rows_at_the_head_are_not_stepped_over_again(database: Database, connection, session, clock: Clock):
    """A transaction stays open, a large backlog is worked off: what a claim reads does not grow with what is gone."""
    holder = await database.connect()
    async with holder.transaction(isolation="repeatable_read"):
        await holder.fetchval("select count(*) from seedcore.ready")
        await fill(connection, "big", 6000)
        for name in "ab":
            await fill(connection, name, 2000)
        cursor, ended = ClaimCursor(), []
        read: list[int] = []
        for turn in range(12):
            clock.now += 0.09
            before = await connection.fetchval(READ)
            ended = await claim(connection, session, cursor, 300, ended)
            await connection.execute("select pg_stat_force_next_flush()")
            # Once a second one claim does look at all, and finds what committed late.
            if turn not in (0, 11):
                read.append(await connection.fetchval(READ) - before)
    await holder.close()
    assert max(read[4:]) <= 3 * min(read) + 1000, read


READ = "select idx_tup_read from pg_stat_user_indexes where indexrelname = 'ready_turns'"


async def flood(connection: asyncpg.Connection, session: UUID, cursor: ClaimCursor, clock: Clock, most: int) -> int:
    """Claims of a lane that never lacks tasks of priority 10; how many others came in two hundred."""
    got = total = 0
    while total < 200:
        await fill(connection, "default", most, priority=10)
        clock.now += 0.11
        claimed = await claim(connection, session, cursor, most)
        assert len(claimed) == most
        got += sum(lease.priority < 10 for lease in claimed)
        total += most
    return got


@pytest.mark.parametrize("most", [1, 100])
async def test_a_flood_of_a_high_priority_leaves_one_place_of_twenty_to_what_is_old(
    connection, session, clock: Clock, most: int
):
    await fill(connection, "default", 100, priority=10)
    low = await fill(connection, "default", 20, priority=-10)
    cursor = ClaimCursor(ageing_s=60.0)
    assert await flood(connection, session, cursor, clock, most) == 0
    clock.now += 60
    assert await flood(connection, session, cursor, clock, most) in (9, 10, 11)
    left = await connection.fetch("select id from seedcore.ready where rank = 10 order by seq")
    assert [row["id"] for row in left] == low[-len(left) :]


@pytest.mark.parametrize("ageing_s", [0.0, 600.0])
async def test_without_old_tasks_or_without_ageing_the_order_is_strict(
    connection, session, clock: Clock, ageing_s: float
):
    await fill(connection, "default", 200, priority=10)
    await fill(connection, "default", 60, priority=-10)
    cursor = ClaimCursor(ageing_s=ageing_s)
    for _ in range(2):
        assert await flood(connection, session, cursor, clock, 100) == 0
        clock.now += 100


async def test_what_has_waited_longest_of_all_lower_priorities_goes_first(connection, session, clock: Clock):
    await fill(connection, "default", 100, priority=10)
    oldest = await fill(connection, "zeta", 2, priority=-10)
    older = await fill(connection, "acme", 2, priority=5)
    last = await fill(connection, "zeta", 2, priority=-10)
    cursor = ClaimCursor(ageing_s=1.0)
    await claim(connection, session, cursor, 10)
    clock.now += 1.01
    got: list[UUID] = []
    while len(got) < 6:
        clock.now += 0.11
        await fill(connection, "default", 20, priority=10)
        got += [lease.id for lease in await claim(connection, session, cursor, 20) if lease.priority < 10]
    assert got == [*oldest, *older, *last]


async def test_a_reaped_session_claims_nothing_in_turns(connection):
    for name in "ab":
        await fill(connection, name, 5)
    gone = uuid4()
    await sessions.open_session(connection, gone, "gone", "default", 60)
    await sessions.close_session(connection, gone)
    assert await claim(connection, gone, ClaimCursor(), 4) == []
