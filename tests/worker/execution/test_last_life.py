"""What the next process makes of a journal: reports to PostgreSQL, and how leases of the last one are judged."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from seedcore.fleet import quarantine_repository
from seedcore.settings import Settings, load_settings
from seedcore.skills import RetryPolicy, SkillContext, SkillRegistry, skill
from seedcore.skills.host_protocol import Call
from seedcore.skills.skill_decorator import MARK
from seedcore.stores.postgres import Database
from seedcore.tasks import leases, queries, sessions
from seedcore.tasks.model import Lease, TaskSpec
from seedcore.tasks.submission.submit import submit
from seedcore.worker.execution.begun_journal import BegunJournal
from seedcore.worker.execution.last_life import BegunCall, LastLife, last_life, last_session, report_last_life
from seedcore.worker.execution.progress_buffer import ProgressBuffer
from seedcore.worker.hosting.host_reports import HostReports

from .skills_of_kinds import Value
from .test_begun_journal import leave


@skill("patient", retry=RetryPolicy(base_s=7, max_s=20))
async def patient(params: Value, context: SkillContext) -> Value:
    return params


REGISTRY = SkillRegistry([getattr(patient, MARK)])


def test_leases_are_judged_by_the_policies_of_their_skills():
    settings = load_settings(retry_base_s=1.0, retry_max_s=10.0)
    session, task_id = uuid4(), uuid4()
    life = LastLife(session, [BegunCall(task_id, 3, "patient"), BegunCall(task_id, 4, "gone", False)])
    last = last_session(life, REGISTRY, settings)
    assert last is not None
    assert (last.session, last.begun) == (session, {(task_id, 3), (task_id, 4)})
    assert [last.pause_s("patient", n) for n in (1, 2, 3)] == [7, 14, 20]
    assert [last.pause_s("not.there", n) for n in (1, 2, 9)] == [1, 2, 10]


def test_nothing_is_judged_without_a_journal_or_a_session():
    assert last_session(None, REGISTRY, load_settings()) is None
    assert last_session(LastLife(None, []), REGISTRY, load_settings()) is None


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    database = Database(pg_settings)
    yield database
    await database.aclose()


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[asyncpg.Connection]:
    async with database.connection() as connection:
        yield connection


async def leased(connection: asyncpg.Connection, session: UUID, count: int) -> list[Lease]:
    await submit(connection, [TaskSpec("patient", json.dumps({"value": n})) for n in range(count)])
    return await leases.claim(connection, "default", session, count)


def call_of(lease: Lease) -> Call:
    return Call(str(lease.id), lease.token, lease.attempt, lease.type, lease.params, "a", None, "k")


@pytest.mark.integration
async def test_a_worker_that_died_gives_back_what_it_had_not_begun(
    pg_settings: Settings, connection: asyncpg.Connection, tmp_path: Path
):
    """From the journal to the tables: one runs, one has ended unwritten, one was sent elsewhere, the rest waits."""
    session, path = uuid4(), tmp_path / "w.begun"
    await sessions.open_session(connection, session, "w", "default", 60, "w")
    journal = BegunJournal(path)
    journal.note_session(session)
    held = await leased(connection, session, 10)
    journal.hold(lease.token for lease in held)
    calls = [call_of(lease) for lease in held]
    journal.begin(calls[0])
    journal.end(journal.begin(calls[1]))
    journal.send([calls[2]])
    leave(journal)

    last = last_session(last_life(path), REGISTRY, pg_settings)
    after = uuid4()
    taken = await sessions.open_session(connection, after, "w", "default", 60, "w", last)
    assert (taken.uncounted, taken.retried, taken.failed) == (7, 3, 0)
    again = await leases.claim(connection, "default", after, 10)
    assert {lease.id for lease in again} == {lease.id for lease in held[3:]}
    assert {lease.attempt for lease in again} == {1}


@pytest.mark.integration
async def test_a_graceful_end_leaves_nothing_that_had_begun(
    pg_settings: Settings, connection: asyncpg.Connection, tmp_path: Path
):
    session, path = uuid4(), tmp_path / "w.begun"
    await sessions.open_session(connection, session, "w", "default", 60, "w")
    journal = BegunJournal(path)
    journal.note_session(session)
    (lease,) = await leased(connection, session, 1)
    journal.begin(call_of(lease))
    journal.close()
    last = last_session(last_life(path), REGISTRY, pg_settings)
    assert (await sessions.open_session(connection, uuid4(), "w", "default", 60, "w", last)).uncounted == 1


@pytest.mark.integration
async def test_a_skill_that_ran_in_three_deaths_is_quarantined_and_what_only_waited_is_not(
    pg_settings: Settings, database: Database, connection: asyncpg.Connection
):
    settings = pg_settings.model_copy(update={"poison_release_s": 60.0})
    for n in range(3):
        begun = [BegunCall(uuid4(), n, "bad"), BegunCall(uuid4(), n, "sent", False)]
        caught = await report_last_life(database, settings, f"h-{n}", begun)
        assert await report_last_life(database, settings, f"h-{n}", begun) == []
        assert await report_last_life(database, settings, f"h-{n}", begun[1:]) == []
        assert [found.skill for found in caught] == ["bad"][: n == 2]
    (active,) = await quarantine_repository.active(connection)
    assert active == caught[0]
    assert (active.until - active.since).total_seconds() == 60


@pytest.mark.integration
async def test_progress_becomes_an_event_of_its_task_and_of_no_lease_that_was_lost(
    database: Database, connection: asyncpg.Connection
):
    session = uuid4()
    await sessions.open_session(connection, session, "w", "default", 60)
    (lease,) = await leased(connection, session, 1)
    buffer = ProgressBuffer()
    reports = HostReports(database, "w", "", list, load_settings())
    writing = asyncio.create_task(buffer.run(reports.write_progress))
    task_id = str(lease.id)
    buffer.report(task_id, lease.token - 1, {"done": 9, "total": 9})
    buffer.report(task_id, lease.token, {"done": 1, "total": None, "note": "ünd \u2028"})
    async with asyncio.timeout(10):
        while not (found := [e for e in await queries.events_of(connection, lease.id) if e.event == "progress"]):
            await asyncio.sleep(0.02)
    assert [event.data for event in found] == [{"done": 1, "total": None, "note": "ünd \u2028"}]
    await leases.release(connection, [(lease.id, lease.token)])
    buffer.report(task_id, lease.token, {"done": 2, "total": None})
    await asyncio.sleep(0.6)
    assert len([e for e in await queries.events_of(connection, lease.id) if e.event == "progress"]) == 1
    assert (buffer.failures, buffer.take()) == (0, [])
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
