"""Idempotency keys: the first task for the same request, a conflict for another one."""

import asyncio
from uuid import UUID

import pytest

from seedcore.errors import ConflictError
from seedcore.stores.postgres import Database
from seedcore.tasks.submission.submit import submit
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
