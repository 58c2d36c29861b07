"""The log of everything: nothing is missed, nothing is told twice, whoever commits when."""

import asyncio
import random
from collections import Counter
from uuid import UUID

import asyncpg
import pytest

from seedcore.errors import InvalidInputError
from seedcore.stores.postgres import Database
from seedcore.tasks import leases
from seedcore.tasks.events import event_log
from seedcore.tasks.events.event_log import NEAR, START, LogEntry, Position, read_log
from tests.tasks.engine_support import claim, done, submitted, task

pytestmark = pytest.mark.integration


async def read_on(connection: asyncpg.Connection, position: Position | None, page: int = 500):
    """Entries up to now, and where to go on from."""
    seen: list[LogEntry] = []
    while True:
        entries, position = await read_log(connection, position, page)
        if not entries:
            return seen, position
        seen += entries


def told(entries: list[LogEntry]) -> list[tuple[str, UUID]]:
    return [(entry.event, task_id) for entry in entries for task_id in entry.task_ids]


async def test_it_tells_what_happens_from_now_on_once(connection, session):
    await submitted(connection, task("before"))
    entries, position = await read_on(connection, None)
    assert entries == []
    (task_id,) = await submitted(connection, task())
    entries, position = await read_on(connection, position)
    assert told(entries) == [("submitted", task_id)]
    assert await read_on(connection, position) == ([], position)


async def test_from_the_start_it_tells_all_that_is_kept(connection, session):
    ids = await submitted(connection, *(task(n) for n in range(3)))
    await leases.finish(connection, [done(lease) for lease in await claim(connection, session)])
    entries, _ = await read_on(connection, START)
    assert Counter(told(entries)) == Counter((event, i) for event in ("submitted", "completed") for i in ids)


async def test_a_transaction_that_commits_late_is_not_missed(database: Database, connection):
    _, position = await read_on(connection, None)
    async with database.connection() as late:
        transaction = late.transaction()
        await transaction.start()
        (slow,) = await submitted(late, task("slow"))
        (quick,) = await submitted(connection, task("quick"))
        entries, position = await read_on(connection, position)
        assert told(entries) == [("submitted", quick)]
        (more,) = await submitted(connection, task("more"))
        await transaction.commit()
    entries, position = await read_on(connection, position)
    assert set(told(entries)) == {("submitted", slow), ("submitted", more)}
    assert (await read_on(connection, position))[0] == []


async def test_few_transactions_and_many_are_read_alike(connection, session, monkeypatch: pytest.MonkeyPatch):
    _, position = await read_on(connection, None)
    ids = await submitted(connection, *(task(n) for n in range(3)))
    await leases.finish(connection, [done(lease) for lease in await claim(connection, session)])
    near, _ = await read_on(connection, position)
    monkeypatch.setattr(event_log, "NEAR", -1)
    far, _ = await read_on(connection, position)
    assert [(e.event, e.at, e.task_ids, e.data) for e in near] == [(e.event, e.at, e.task_ids, e.data) for e in far]
    assert Counter(told(near)) == Counter((event, i) for event in ("submitted", "completed") for i in ids)


async def test_a_reader_of_what_is_near_leaves_more_to_another(connection):
    _, position = await read_on(connection, None)
    ids = [(await submitted(connection, task(n)))[0] for n in range(3)]
    entries, settled = await read_log(connection, position, 500, near=True)
    assert told(entries) == [("submitted", i) for i in ids]
    assert settled.is_settled
    for _ in range(NEAR + 1):
        await connection.execute("select pg_current_xact_id()")
    entries, behind = await read_log(connection, position, 500, near=True)
    assert entries == []
    assert not behind.is_settled
    entries, settled = await read_log(connection, behind, 500)
    assert told(entries) == [("submitted", i) for i in ids]
    assert settled.is_settled


async def test_what_was_rolled_back_never_happened(database: Database, connection):
    _, position = await read_on(connection, None)
    async with database.connection() as other:
        transaction = other.transaction()
        await transaction.start()
        await submitted(other, task())
        _, position = await read_on(connection, position)
        await transaction.rollback()
    assert (await read_on(connection, position))[0] == []


@pytest.mark.parametrize("page", [1, 2, 3, 7])
async def test_it_goes_on_behind_any_entry_and_pages_inside_one_look(connection, page):
    _, begin = await read_on(connection, None)
    for n in range(7):
        await submitted(connection, task(n))
    whole, _ = await read_on(connection, begin)
    paged, _ = await read_on(connection, begin, page)
    assert told(paged) == told(whole)
    assert len(whole) == 7
    for n, entry in enumerate(paged):
        # As text, as clients keep it.
        rest, _ = await read_on(connection, Position.parse(str(entry.position)), page)
        assert told(rest) == told(whole)[n + 1 :]


async def test_an_entry_resumed_at_while_others_commit_late_misses_none(database: Database, connection):
    _, begin = await read_on(connection, None)
    async with database.connection() as late:
        transaction = late.transaction()
        await transaction.start()
        (slow,) = await submitted(late, task("slow"))
        await submitted(connection, task(1))
        await submitted(connection, task(2))
        entries, _ = await read_log(connection, begin, 1)
        await transaction.commit()
    (more,) = await submitted(connection, task(3))
    rest, _ = await read_on(connection, entries[0].position, 1)
    assert {("submitted", slow), ("submitted", more)} <= set(told(rest))
    assert len(told(rest)) == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "a~b~c",
        "3:3:~3:3:~-1",
        "3:3:~3:3:",
        "3:3:~3:3:~x",
        "9" * 99,
        "3:3:';--~3:3:~0",
        pytest.param("3:3:~3:3:~" + "9" * 5000, id="5000 digits"),
    ],
)
def test_a_position_that_is_none_is_refused(text):
    with pytest.raises(InvalidInputError):
        Position.parse(text)


async def test_a_position_from_the_future_tells_nothing_and_breaks_nothing(connection):
    await submitted(connection, task())
    later = Position.parse("99999999999:99999999999:~99999999999:99999999999:~0")
    entries, _ = await read_log(connection, later, 10)
    assert entries == []


@pytest.mark.parametrize("seed", range(3))
async def test_with_many_writers_every_reader_gets_everything_once(pg_settings, seed: int):
    """Writers commit in any order, some roll back; readers page, go on at any entry, and meet nothing twice."""
    chance = random.Random(seed)
    database = Database(pg_settings, size=12)
    async with database.connection() as connection:
        _, begin = await read_on(connection, None)
    written: set[UUID] = set()
    going = 6

    async def writer() -> None:
        nonlocal going
        async with database.connection(wait_s=30) as own:
            for _ in range(12):
                transaction = own.transaction()
                await transaction.start()
                ids = []
                for _ in range(chance.randint(1, 3)):
                    ids += await submitted(own, *(task() for _ in range(chance.randint(1, 3))))
                    await asyncio.sleep(chance.choice([0, 0.002, 0.03]))
                if chance.random() < 0.2:
                    await transaction.rollback()
                else:
                    await transaction.commit()
                    written.update(ids)
        going -= 1

    async def reader(page: int) -> Counter[tuple[str, UUID]]:
        seen: Counter[tuple[str, UUID]] = Counter()
        position = begin
        async with database.connection(wait_s=30) as own:
            last_look = False
            while True:
                entries, after = await read_log(own, position, page)
                if entries and chance.random() < 0.3:
                    # The reader went away in the middle of a page and comes back with the last id that it handled.
                    entries = entries[: chance.randint(1, len(entries))]
                    after = Position.parse(str(entries[-1].position))
                position = after
                seen.update(told(entries))
                if not entries and last_look:
                    return seen
                last_look = going == 0 and not entries
                await asyncio.sleep(chance.choice([0, 0.005]))

    async with asyncio.timeout(60):
        readers, _ = await asyncio.gather(
            asyncio.gather(*(reader(page) for page in (1, 3, 50))), asyncio.gather(*(writer() for _ in range(6)))
        )
    await database.aclose()
    for seen in readers:
        assert seen == Counter({("submitted", i): 1 for i in written})
