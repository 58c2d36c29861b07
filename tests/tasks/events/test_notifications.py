"""Who waits is called, and nobody else: a NOTIFY is a lock that all commits share."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from seedcore.stores.advisory_locks import EVENT_FOLLOWERS, IDLE_LANE
from seedcore.stores.postgres import Database
from seedcore.tasks import leases
from seedcore.tasks.events.notifications import NotificationListener
from tests.tasks.engine_support import claim, done, submitted, task

pytestmark = pytest.mark.integration


class Heard(list[tuple[str, str]]):
    """What was called out on all channels."""

    def take(self, _connection: object, _pid: int, channel: str, payload: str) -> None:
        self.append((channel, payload))

    async def settled(self, connection: asyncpg.Connection) -> list[tuple[str, str]]:
        """What came before a call of our own, which is the last one."""
        await connection.execute("select pg_notify('seedcore_events', 'end')")
        async with asyncio.timeout(20):
            while ("seedcore_events", "end") not in self:
                await asyncio.sleep(0.005)
        came = [item for item in self if item[1] != "end"]
        self.clear()
        return came


@pytest.fixture
async def heard(database: Database) -> AsyncIterator[Heard]:
    heard = Heard()
    connection = await database.connect()
    for channel in ("seedcore_ready", "seedcore_events", "seedcore_later", "seedcore_cancel"):
        await connection.add_listener(channel, heard.take)
    yield heard
    await connection.close()


@asynccontextmanager
async def bell(database: Database) -> AsyncIterator[NotificationListener]:
    ready = asyncio.Event()

    async def on_ready() -> None:
        ready.set()

    bell = NotificationListener(database, {})
    listening = asyncio.create_task(bell.listen(on_ready))
    await asyncio.wait_for(ready.wait(), 5)
    try:
        yield bell
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


WAYS: dict[str, Callable[..., object]] = {
    "submit": lambda connection: submitted(connection, task()),
    "a batch": lambda connection: submitted(connection, *(task(n) for n in range(50))),
    "with a key": lambda connection: submitted(connection, task(idempotency_key="k")),
    "from SQL": lambda connection: connection.execute("select seedcore.enqueue('echo', '{}')"),
}


@pytest.mark.parametrize("way", WAYS)
async def test_while_nobody_waits_nobody_is_called(heard, connection, way):
    await WAYS[way](connection)
    assert await heard.settled(connection) == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_dispatcher_that_waits_is_called_once(database, heard, connection, way):
    async with bell(database) as waiting:
        assert await waiting.set_waiting(IDLE_LANE, "default", waiting=True)
        await WAYS[way](connection)
        assert await heard.settled(connection) == [("seedcore_ready", "default")]
        assert await waiting.set_waiting(IDLE_LANE, "default", waiting=False)
        await WAYS["submit"](connection)
        assert await heard.settled(connection) == []


async def test_only_who_waits_for_that_lane_of_that_queue_is_called(database, heard, connection):
    async with bell(database) as waiting:
        await waiting.set_waiting(IDLE_LANE, "default", waiting=True)
        await submitted(connection, task(slow=True), task(queue="graph"))
        assert await heard.settled(connection) == []
        await waiting.set_waiting(IDLE_LANE, "default~slow", waiting=True)
        await submitted(connection, task(slow=True), task(queue="graph"), task())
        assert sorted(await heard.settled(connection)) == [
            ("seedcore_ready", "default"),
            ("seedcore_ready", "default~slow"),
        ]


async def test_two_that_wait_cost_one_call(database, heard, connection):
    async with bell(database) as one, bell(database) as two:
        await one.set_waiting(IDLE_LANE, "default", waiting=True)
        await two.set_waiting(IDLE_LANE, "default", waiting=True)
        await submitted(connection, task())
        assert await heard.settled(connection) == [("seedcore_ready", "default")]
        await one.set_waiting(IDLE_LANE, "default", waiting=False)
        await submitted(connection, task())
        assert await heard.settled(connection) == [("seedcore_ready", "default")]


async def test_who_waited_and_died_is_called_no_more(database, heard, connection):
    async with bell(database) as waiting:
        await waiting.set_waiting(IDLE_LANE, "default", waiting=True)
    async with asyncio.timeout(20):
        while await connection.fetchval("select seedcore.someone(24301, hashtext('default'))"):
            await asyncio.sleep(0.01)
    await submitted(connection, task())
    assert await heard.settled(connection) == []


async def test_followers_are_called_for_what_happens(database, heard, connection, session):
    async with bell(database) as follower:
        await follower.set_waiting(EVENT_FOLLOWERS, "events", waiting=True)
        await submitted(connection, task())
        assert await heard.settled(connection) == [("seedcore_events", "")]
        (lease,) = await claim(connection, session)
        await heard.settled(connection)
        await leases.finish(connection, [done(lease)])
        assert await heard.settled(connection) == [("seedcore_events", "")]


async def test_a_call_that_finds_its_transaction_rolled_back_is_not_heard(database, heard, connection):
    async with bell(database) as waiting:
        await waiting.set_waiting(IDLE_LANE, "default", waiting=True)
        transaction = connection.transaction()
        await transaction.start()
        await submitted(connection, task())
        await transaction.rollback()
        assert await heard.settled(connection) == []
