"""Batches: every task keeps its own options, whichever of them the others share."""

from datetime import UTC, datetime

import pytest

from seedcore.errors import InvalidInputError
from seedcore.tasks.model import Limit, TaskSpec
from seedcore.tasks.submission.submit import submit
from tests.tasks.engine_support import task

pytestmark = pytest.mark.integration

COLUMNS = """
select t.type, t.params::text as params, t.queue, t.domain, t.priority, t.max_attempts, t.timeout_s, t.slow,
       t.run_after, t.deadline, t.limit_key, t.idempotency_key, r.rank
from seedcore.tasks t left join seedcore.ready r using (id) order by t.id
"""
LATER = datetime(2100, 1, 1, tzinfo=UTC)


def told(spec: TaskSpec) -> tuple[object, ...]:
    """What `COLUMNS` says of it."""
    limit = None if spec.limit is None else spec.limit.key
    rank = -spec.priority if spec.run_after is None and spec.limit is None else None
    options = (spec.priority, spec.max_attempts, spec.timeout_s, spec.slow, spec.run_after, spec.deadline, limit)
    return (spec.type, spec.params, spec.queue, spec.domain, *options, spec.idempotency_key, rank)


BATCHES = {
    "one": [task(1, domain="d", priority=-3, max_attempts=2, timeout_s=1.5, slow=True, queue="graph")],
    "one with a key": [task(1, idempotency_key="k", domain="d", priority=4, timeout_s=2.5)],
    "all the same": [task(1, domain="d", priority=3, timeout_s=1.5) for _ in range(3)],
    "all the same, with keys": [task(1, domain="d", slow=True, idempotency_key=f"k{n}") for n in range(3)],
    "some have it": [
        task(1),
        task(2, domain="d", timeout_s=1.5, priority=100),
        task(3, domain="", idempotency_key="k"),
        task(4, slow=True, queue="graph"),
        TaskSpec("other", "{}", max_attempts=1),
    ],
    "later, limited or with a deadline": [
        task(1, run_after=LATER),
        task(2, deadline=LATER, idempotency_key="k"),
        task(3, limit=Limit("a")),
        task(4, limit=Limit("b", max_running=2), priority=5),
        task(5),
    ],
    "all later": [task(n, run_after=LATER, deadline=LATER) for n in range(2)],
    "a hundred, with keys": [
        task(n, idempotency_key=f"k{n}", priority=n % 3, domain="d" if n % 2 else None) for n in range(100)
    ],
}


@pytest.mark.parametrize("name", BATCHES)
async def test_every_task_is_stored_with_its_own_options(connection, name):
    batch = BATCHES[name]
    answers = await submit(connection, batch)
    assert [a.id for a in answers] == [spec.id for spec in batch]
    rows = [tuple(row) for row in await connection.fetch(COLUMNS)]
    assert rows == [told(spec) for spec in sorted(batch, key=lambda spec: spec.id)]
    events = await connection.fetch("select event, task_ids from seedcore.events")
    assert [(e["event"], set(e["task_ids"])) for e in events] == [("submitted", {spec.id for spec in batch})]


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("key", [None, "k"])
async def test_params_that_cannot_be_kept_are_the_senders_error_and_nothing_is_stored(connection, size, key):
    batch = [task(n, idempotency_key=key and f"{key}{n}") for n in range(size)]
    batch[-1].params = '{"value": "\\u0000"}'
    with pytest.raises(InvalidInputError, match="cannot be stored"):
        await submit(connection, batch)
    for table in ("tasks", "ready", "idempotency", "events"):
        assert await connection.fetchval(f"select count(*) from seedcore.{table}") == 0
