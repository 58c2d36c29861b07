"""Idempotency keys: the first task for the same request, a conflict for another one."""

import asyncio
from collections.abc import Iterable
from uuid import UUID

import pytest

from seedcore.errors import ConflictError
from seedcore.stores.postgres import Database
from seedcore.tasks.model import TaskSpec
from seedcore.tasks.submission.submit import NEW_KEYS_FROM, submit
from tests.tasks.engine_support import task

pytestmark = pytest.mark.integration


async def test_the_same_key_gives_the_first_task(connection):
    first = (await submit(connection, [task(1, idempotency_key="k")]))[0]
    again = (await submit(connection, [task(1, idempotency_key="k")]))[0]
    assert (first.created, again.created, again.id) == (True, False, first.id)
    other = (await submit(connection, [task(1, idempotency_key="k", queue="graph")]))[0]
    assert other.created
    with pytest.raises(ConflictError):
        await submit(connection, [task(2, idempotency_key="k"), task(3)])
    assert await connection.fetchval("select count(*) from seedcore.tasks") == 2


async def test_keys_that_repeat_inside_a_batch_give_the_first_tasks_id(connection):
    batch = [task(1, idempotency_key="a"), task(2), task(1, idempotency_key="a")]
    answers = await submit(connection, batch)
    assert answers[0].id == answers[2].id == batch[0].id
    assert [a.created for a in answers] == [True, True, False]
    assert await connection.fetchval("select count(*) from seedcore.ready") == 2


async def test_two_submitters_of_one_key_make_one_task(database: Database):
    async def one() -> UUID:
        async with database.connection() as own:
            return (await submit(own, [task(1, idempotency_key="race")]))[0].id

    assert len(set(await asyncio.gather(*[one() for _ in range(20)]))) == 1


def many(keys: Iterable[int], value: int = 1) -> list[TaskSpec]:
    return [task(value, idempotency_key=f"k{n:04}") for n in keys]


async def counts(connection) -> tuple[int, ...]:
    """Tasks, those that are ready, and keys."""
    return tuple(
        [await connection.fetchval(f"select count(*) from seedcore.{t}") for t in ("tasks", "ready", "idempotency")]
    )


@pytest.fixture
def batch() -> range:
    """As many keys as are taken to be new."""
    return range(NEW_KEYS_FROM)


async def test_a_large_batch_that_is_sent_again_gives_the_first_tasks(connection, batch):
    first = await submit(connection, many(batch))
    again = await submit(connection, many(batch))
    assert all(a.created for a in first)
    assert [(a.created, a.id) for a in again] == [(False, a.id) for a in first]
    assert await counts(connection) == (len(batch),) * 3


@pytest.mark.parametrize("overlap", [[0], [NEW_KEYS_FROM - 1], [NEW_KEYS_FROM // 2], range(40, 60)])
async def test_a_large_batch_that_overlaps_an_earlier_one_stores_the_rest(connection, batch, overlap):
    first = await submit(connection, many(overlap))
    answers = await submit(connection, many(batch))
    assert [answers[n].id for n in overlap] == [a.id for a in first]
    assert [n for n, a in enumerate(answers) if not a.created] == list(overlap)
    assert await counts(connection) == (len(batch),) * 3


@pytest.mark.parametrize("taken", [0, NEW_KEYS_FROM // 2])
async def test_a_large_batch_with_one_key_of_another_task_stores_nothing(connection, batch, taken):
    await submit(connection, many([taken], value=2))
    with pytest.raises(ConflictError):
        await submit(connection, many(batch))
    assert await counts(connection) == (1, 1, 1)


async def test_keys_that_repeat_inside_a_large_batch_give_the_first_tasks_id(connection, batch):
    answers = await submit(connection, many([*batch, 7, 8]))
    assert [a.id for a in answers[-2:]] == [answers[7].id, answers[8].id]
    assert await counts(connection) == (len(batch),) * 3


async def test_keys_in_a_large_batch_whose_period_is_over_make_new_tasks(connection, batch):
    old = await submit(connection, [task(1, idempotency_key=f"k{n:04}", idempotency_period_s=60) for n in (0, 50)])
    await connection.execute("update seedcore.idempotency set expires_at = now()")
    answers = await submit(connection, many(batch, value=2))
    assert all(a.created for a in answers)
    assert not {a.id for a in answers} & {a.id for a in old}


async def test_a_large_batch_in_a_callers_transaction_does_not_end_it(connection, batch):
    await submit(connection, many([50]))
    async with connection.transaction():
        assert len(await submit(connection, many(batch))) == len(batch)
        await submit(connection, [task(3)])
    assert await counts(connection) == (len(batch) + 1, len(batch) + 1, len(batch))


async def test_large_batches_of_the_same_keys_at_once_make_each_task_once(database: Database, connection, batch):
    async def one(keys: list[int]) -> set[UUID]:
        async with database.connection() as own:
            return {a.id for a in await submit(own, many(keys))}

    turns = [list(batch), list(reversed(batch)), [*batch[50:], *batch[:50]], list(batch)]
    found = await asyncio.gather(*[one(keys) for keys in turns])
    assert all(ids == found[0] for ids in found)
    assert await counts(connection) == (len(batch),) * 3


async def test_a_large_batch_may_have_tasks_without_keys(connection, batch):
    tasks = [task(1, idempotency_key="a"), *(task(n) for n in batch), task(1, idempotency_key="b")]
    assert all(a.created for a in await submit(connection, tasks))
    assert await counts(connection) == (len(batch) + 2, len(batch) + 2, 2)


async def test_a_key_whose_task_is_gone_is_free_again(connection):
    (old,) = await submit(connection, [task(1, idempotency_key="k")])
    await connection.execute("delete from seedcore.ready")
    await connection.execute("delete from seedcore.tasks")
    await connection.execute("update seedcore.idempotency set created_at = now() - interval '2 hours'")
    (new,) = await submit(connection, [task(2, idempotency_key="k")])
    assert new.created
    assert new.id != old.id


async def test_a_repeated_key_writes_no_event_and_wakes_nobody(connection):
    await submit(connection, [task(1, idempotency_key="k")])
    await submit(connection, [task(1, idempotency_key="k")])
    assert await connection.fetchval("select count(*) from seedcore.events") == 1
