"""Schedules on a real database: policies, several who fire at once, and one who is killed in between."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from seedcore.errors import ConflictError, InvalidInputError, NotFoundError, TooLargeError
from seedcore.settings import Settings
from seedcore.skills.registry import SkillRegistry
from seedcore.stores.postgres import Database
from seedcore.tasks import queries
from seedcore.tasks.model import Limit, TaskSpec
from seedcore.tasks.schedules import firing, repository
from seedcore.tasks.schedules.schedule import Schedule, ScheduleBody, ScheduleIn
from seedcore.tasks.submission.submit import submit
from seedcore.tasks.submission.validate import Submission

pytestmark = pytest.mark.integration
ECHO = {"type": "echo", "params": {"value": 1}}
FIRER = Path(__file__).with_name("schedule_firer.py")


@pytest.fixture
def submission(pg_settings: Settings) -> Submission:
    return Submission(pg_settings, SkillRegistry.load(pg_settings))


def body(**fields: Any) -> ScheduleBody:
    return ScheduleBody(**{"task": ECHO, "every_s": 60, **fields})


async def make(connection: asyncpg.Connection, submission: Submission, name: str = "s", **fields: Any) -> Schedule:
    return await repository.create(connection, submission, ScheduleIn(id=name, **dict(body(**fields))))


async def miss(connection: asyncpg.Connection, seconds: float, name: str = "s") -> datetime:
    """As if nobody had fired for so long: the next tick is as far in the past, on the schedule's own grid."""
    await connection.execute(
        "update seedcore.schedules set created_at = now() - make_interval(secs => $2),"
        " next_at = now() - make_interval(secs => $2) where id = $1",
        name,
        seconds,
    )
    return (await repository.get(connection, name)).next_at or datetime.min.replace(tzinfo=UTC)


async def keys(connection: asyncpg.Connection) -> list[str]:
    """The idempotency keys of all tasks, in order."""
    return [r[0] for r in await connection.fetch("select idempotency_key from seedcore.tasks order by 1")]


async def test_a_tick_that_is_due_becomes_one_task_like_its_template(connection, submission):
    task = {**ECHO, "queue": "graph", "domain": "d", "priority": 3, "max_attempts": 2, "timeout_s": 7}
    await make(connection, submission, task={**task, "limit": {"key": "k", "max_running": 2}})
    assert (await firing.fire(connection)).fired == 0
    tick = await miss(connection, 1)
    assert (await firing.fire(connection)).fired == 1
    assert (await firing.fire(connection)).fired == 0
    after = await repository.get(connection, "s")
    assert (after.fired, after.skipped, after.last_at) == (1, 0, tick)
    assert after.next_at == tick + timedelta(seconds=60)
    record = await queries.get(connection, after.last_task_id)
    assert {name: getattr(record, name) for name in task} == task
    assert record.limit_key == "k"
    assert record.idempotency_key == f"schedule:s:{tick.isoformat()}"
    assert await connection.fetchval("select max_running from seedcore.limits where key = 'k'") == 2


@pytest.mark.parametrize(
    ("policy", "fired", "skipped"),
    [("skip", 0, 11), ("last", 1, 10), ("all", 11, 0), ("bounded", 3, 8)],
)
async def test_what_was_missed_is_made_up_for_by_policy(connection, submission, policy, fired, skipped):
    more = {"catch_up": "all", "max_catch_up": 3} if policy == "bounded" else {"catch_up": policy}
    await make(connection, submission, every_s=600, **more)
    first = await miss(connection, 6100)
    done = await firing.fire(connection)
    assert (done.fired, done.skipped) == (fired, skipped)
    ticks = [first + timedelta(seconds=600 * n) for n in range(11)]
    assert await keys(connection) == [f"schedule:s:{tick.isoformat()}" for tick in ticks[11 - fired :]]
    after = await repository.get(connection, "s")
    assert (after.fired, after.skipped) == (fired, skipped)
    assert after.next_at == ticks[-1] + timedelta(seconds=600)


async def test_a_tick_that_is_a_little_late_was_not_missed(connection, submission):
    await make(connection, submission, every_s=600, catch_up="skip")
    await miss(connection, 6030)
    assert (await firing.fire(connection)).fired == 1


async def test_a_paused_schedule_fires_nothing_and_makes_up_for_nothing(connection, submission):
    await make(connection, submission, catch_up="all")
    await miss(connection, 500)
    assert (await repository.pause(connection, "s")).next_at is None
    assert (await firing.fire(connection)).fired == 0
    resumed = await repository.resume(connection, "s")
    assert resumed.next_at is not None
    assert resumed.next_at > datetime.now(UTC) - timedelta(seconds=1)
    assert (await firing.fire(connection)).fired == 0
    assert (await repository.resume(connection, "s")).next_at == resumed.next_at


async def test_a_schedule_ends_with_its_last_tick(connection, submission):
    ends_at = datetime.now(UTC) + timedelta(seconds=90)
    await make(connection, submission, ends_at=ends_at)
    await miss(connection, 5)
    await connection.execute("update seedcore.schedules set ends_at = now() + interval '10 s'")
    assert (await firing.fire(connection)).fired == 1
    assert (await repository.get(connection, "s")).next_at is None
    assert (await firing.fire(connection)).fired == 0
    await repository.pause(connection, "s")
    with pytest.raises(ConflictError, match="has ended"):
        await repository.resume(connection, "s")


async def test_nothing_fires_before_the_start_and_an_interval_begins_there(connection, submission):
    starts_at = datetime.now(UTC) + timedelta(hours=1)
    made = await make(connection, submission, starts_at=starts_at, every_s=7)
    assert made.upcoming(2) == [starts_at, starts_at + timedelta(seconds=7)]
    at_eight = await make(connection, submission, "c", starts_at=starts_at, every_s=None, cron="0 8 * * *")
    assert at_eight.next_at >= starts_at


async def test_defining_the_same_again_loses_no_tick_and_another_rhythm_begins_anew(connection, submission):
    await make(connection, submission)
    await miss(connection, 5)
    kept, new = await repository.put(connection, submission, "s", body(task={**ECHO, "priority": 9}))
    assert not new
    assert (await firing.fire(connection)).fired == 1
    assert (await queries.find(connection))[0].priority == 9
    await miss(connection, 5)
    changed, _ = await repository.put(connection, submission, "s", body(every_s=50))
    assert changed.next_at > kept.next_at
    assert (await firing.fire(connection)).fired == 0
    await repository.pause(connection, "s")
    still, _ = await repository.put(connection, submission, "s", body(every_s=40))
    assert (still.paused, still.next_at, still.created_at) == (True, None, changed.created_at)
    assert (await repository.put(connection, submission, "other", body()))[1]


async def test_its_tasks_wait_in_the_lane_that_their_type_has(connection, submission):
    await make(connection, submission, "goal", task={"type": "goal", "params": {"goal": "summary"}})
    await make(connection, submission, "echo")
    for name in ("goal", "echo"):
        await miss(connection, 3, name)
    assert (await firing.fire(connection)).fired == 2
    lanes = await connection.fetch("select t.type, r.slow from seedcore.ready r join seedcore.tasks t using (id)")
    assert {row["type"]: row["slow"] for row in lanes} == {"goal": True, "echo": False}


async def test_firing_by_hand_leaves_the_ticks_alone(connection, submission):
    made = await make(connection, submission)
    first = await repository.fire_now(connection, "s")
    again = await repository.fire_now(connection, "s", "once")
    same = await repository.fire_now(connection, "s", "once")
    assert [first.created, again.created, same.created] == [True, True, False]
    assert again.id == same.id
    after = await repository.get(connection, "s")
    assert (after.fired, after.last_task_id, after.next_at) == (2, again.id, made.next_at)


async def test_making_one_that_is_there_is_a_conflict_and_nothing_is_found_that_is_not(connection, submission):
    await make(connection, submission)
    with pytest.raises(ConflictError, match="PUT"):
        await make(connection, submission)
    for call in (repository.get, repository.remove, repository.pause, repository.resume, repository.fire_now):
        with pytest.raises(NotFoundError):
            await call(connection, "nothing")
    await repository.remove(connection, "s")
    assert await repository.find(connection, None, 10) == []


async def test_no_more_than_the_bound_are_kept(connection, submission, monkeypatch):
    monkeypatch.setattr(repository, "INSERT", repository.INSERT.replace(f"< {repository.MAX_SCHEDULES}", "< 2"))
    for name in "ab":
        await make(connection, submission, name)
    with pytest.raises(InvalidInputError, match="delete one") as caught:
        await make(connection, submission, "c")
    assert [error.field for error in caught.value.errors] == ["id"]
    with pytest.raises(ConflictError):
        await make(connection, submission, "a")


async def test_params_over_the_limit_are_too_large(connection, submission):
    with pytest.raises(TooLargeError) as caught:
        await make(connection, submission, task={"type": "echo", "params": {"value": "x" * 300_000}})
    assert [error.field for error in caught.value.errors] == ["task.params"]


async def test_a_tick_whose_key_somebody_used_is_left_out_and_stops_no_other(connection, submission):
    for name in ("a", "b", "c"):
        await make(connection, submission, name)
        tick = await miss(connection, 3, name)
        if name == "b":
            await submit(
                connection, [TaskSpec("echo", '{"value": 2}', idempotency_key=f"schedule:b:{tick.isoformat()}")]
            )
    done = await firing.fire(connection)
    assert (done.fired, done.skipped, done.broken) == (2, 1, 1)
    found = {s.id: s for s in await repository.find(connection, None, 10)}
    assert [found[name].fired for name in "abc"] == [1, 0, 1]
    assert "already" in found["b"].error or "was used" in found["b"].error
    assert not found["b"].paused
    assert found["b"].next_at > datetime.now(UTC)


async def test_a_tick_that_was_fired_already_gives_no_second_task(connection, submission):
    await make(connection, submission)
    tick = await miss(connection, 3)
    assert (await firing.fire(connection)).fired == 1
    await connection.execute("update seedcore.schedules set next_at = $1", tick)
    assert (await firing.fire(connection)).fired == 0
    assert len(await keys(connection)) == 1


async def test_one_whose_zone_nobody_knows_is_paused_and_says_why(connection, submission):
    await make(connection, submission, every_s=None, cron="* * * * *")
    await make(connection, submission, "well")
    await miss(connection, 3)
    await miss(connection, 3, "well")
    await connection.execute("update seedcore.schedules set timezone = 'Mars/Olympus' where id = 's'")
    done = await firing.fire(connection)
    assert (done.fired, done.broken) == (1, 1)
    broken = await repository.get(connection, "s")
    assert (broken.paused, broken.next_at) == (True, None)
    assert "Mars/Olympus" in (broken.error or "")
    with pytest.raises(InvalidInputError, match="Mars"):
        await repository.resume(connection, "s")


async def test_a_round_fires_some_pages_and_the_next_one_goes_on(connection, submission, monkeypatch):
    for name, value in (("PAGE", 7), ("MAX_TASKS", 20), ("MAX_PAGES", 3)):
        monkeypatch.setattr(firing, name, value)
    for n in range(25):
        await make(connection, submission, f"s{n}", catch_up="all", every_s=600)
        await miss(connection, 6100, f"s{n}")
    # Two schedules of eleven ticks are more than MAX_TASKS.
    rounds = [(await firing.fire(connection)).fired // 11 for _ in range(6)]
    assert rounds == [6, 6, 6, 6, 1, 0]
    assert len(set(await keys(connection))) == 25 * 11


async def test_several_who_fire_at_once_give_one_task_a_tick(database: Database, submission):
    async with database.connection() as connection:
        names = [f"s{n}" for n in range(40)]
        for name in names:
            await make(connection, submission, name, catch_up="all", every_s=600)

        async def round_of_one() -> int:
            async with database.connection() as own:
                return (await firing.fire(own)).fired

        for _ in range(3):
            before = set(await keys(connection))
            for name in names:
                await miss(connection, 3100, name)
            fired = sum(await asyncio.gather(*[round_of_one() for _ in range(6)]))
            assert fired == 40 * 6
            assert len(set(await keys(connection)) - before) == 40 * 6
        assert len(await keys(connection)) == 3 * 40 * 6


@asynccontextmanager
async def firer_process(dsn: str, what: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that fires; it is killed at the end if it has not ended."""
    firer = await asyncio.create_subprocess_exec(sys.executable, str(FIRER), dsn, what, stdout=asyncio.subprocess.PIPE)
    try:
        yield firer
    finally:
        if firer.returncode is None:
            firer.kill()
            await firer.wait()


async def test_several_processes_that_fire_at_once_give_one_task_a_tick(pg_dsn, connection, submission):
    for n in range(30):
        await make(connection, submission, f"s{n}", catch_up="all", every_s=1, max_catch_up=100)
    began = await connection.fetchval("select now()")
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        firers = [await stack.enter_async_context(firer_process(pg_dsn, "4")) for _ in range(3)]
        lines = [json.loads((await firer.communicate())[0]) for firer in firers]
    fired = sum(line["fired"] for line in lines)
    assert fired == len(await keys(connection)) == len(set(await keys(connection)))
    stored = await repository.find(connection, None, 100)
    assert fired == sum(s.fired for s in stored)
    assert sum(s.skipped for s in stored) == 0
    for schedule in stored:
        # Every tick there was, none left out: those between the first and the last, a second apart.
        mine = [key for key in await keys(connection) if key.startswith(f"schedule:{schedule.id}:")]
        ticks = [datetime.fromisoformat(key.split(":", 2)[2]) for key in mine]
        assert ticks == [ticks[0] + timedelta(seconds=n) for n in range(len(ticks))]
        assert schedule.last_at == ticks[-1]
        assert ticks[0] - began <= timedelta(seconds=1)


async def test_one_who_is_killed_between_two_statements_fires_nothing_and_the_next_one_does(
    pg_dsn, connection, submission
):
    for n in range(5):
        await make(connection, submission, f"s{n}")
        await miss(connection, 3, f"s{n}")
    async with asyncio.timeout(30), firer_process(pg_dsn, "submitted") as firer:
        assert firer.stdout is not None
        assert await firer.stdout.readline() == b"submitted\n"
        # The rows are locked: nobody else fires them, and nobody sees the tasks.
        assert (await firing.fire(connection)).fired == 0
        assert await keys(connection) == []
        firer.kill()
        await firer.wait()
        while (done := await firing.fire(connection)).fired == 0:
            await asyncio.sleep(0.02)
    assert done.fired == 5
    assert len(await keys(connection)) == 5


def test_a_template_becomes_its_task_with_its_limit():
    at = datetime(2026, 3, 29, 1, tzinfo=UTC)
    schedule = Schedule(
        "s", "goal", "{}", "graph", True, None, 0, 3, None, '{"key": "k", "burst": 2}', "0 * * * *", None, "UTC",
        "skip", 100, None, None, False, at, None, None, 0, 0, None, at, at,
    )  # fmt: skip
    task = schedule.task(at)
    assert (task.slow, task.limit) == (True, Limit("k", burst=2))
    assert schedule.upcoming(2) == [at, at + timedelta(hours=1)]
    assert replace(schedule, next_at=None).upcoming(5) == []
