"""The witness on a real database: it is told lies in plain SQL, and reports each of them."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from benchmarks.chaos import impostor, skills
from benchmarks.chaos.evidence import Evidence, Run
from benchmarks.chaos.impostor import Impostor
from benchmarks.chaos.judge import Verdict, judge
from benchmarks.chaos.load import shown
from benchmarks.chaos.plan import Task
from benchmarks.chaos.witness import Witness, connected
from seedcore.tasks import leases, queries, sessions
from seedcore.tasks.model import Lease, Outcome, Status, TaskSpec
from seedcore.tasks.submission.submit import submit
from seedcore.tasks.task_json import task_json

pytestmark = pytest.mark.integration


class Scene:
    """A database with one task, the witness that watches it, and what both come to."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.evidence = Evidence()
        self.impostor = Impostor(1)
        self.witness = Witness(Path("/nowhere"), self.evidence, self.impostor)
        self.session = uuid4()

    async def submit(self) -> UUID:
        """One task, acknowledged."""
        key = f"chaos-1-{len(self.evidence.asked)}"
        task = TaskSpec(skills.NAME, json.dumps({"n": 0, "sleep_ms": 0}), idempotency_key=key)
        (answer,) = await submit(self.connection, [task])
        self.evidence.asked[key] = Task(key, 0, 0)
        self.evidence.acked[key] = str(answer.id)
        return answer.id

    async def claim(self) -> Lease:
        """Lease it; the witness looks."""
        (lease,) = await leases.claim(self.connection, "default", self.session, 1)
        await self.look()
        return lease

    async def lose(self, lease: Lease) -> Lease:
        """Take the lease away while the witness looks, and give the task to another."""
        await leases.release(self.connection, [(lease.id, lease.token)])
        await self.look()
        return await self.claim()

    async def complete(self, lease: Lease) -> set[UUID]:
        """Run it under this lease, and write the result."""
        run = uuid4().hex
        self.evidence.runs[run] = Run(str(lease.id), lease.token, lease.attempt, 1.0, ended=2.0)
        result = json.dumps({"run": run, "token": lease.token, "attempt": lease.attempt})
        accepted = await leases.finish(
            self.connection, [Outcome(lease.id, lease.token, Status.COMPLETED, result=result)]
        )
        await self.look()
        return accepted

    async def look(self) -> None:
        """The witness looks, as it does some times a second."""
        await self.witness.look(self.connection, sweep=False)

    async def strike(self) -> None:
        """The witness writes under leases that are lost."""
        await self.impostor.strike(self.connection, self.evidence, self.witness.leases)

    async def verdict(self) -> Verdict:
        """What it all comes to."""
        await self.witness.conclude(self.connection)
        for record in await queries.find(self.connection, task_type=skills.NAME, limit=100):
            self.evidence.shown[str(record.id)] = shown(json.loads(task_json(record)))
        return judge(self.evidence)


@pytest.fixture
async def scene(pg_dsn: str) -> AsyncIterator[Scene]:
    async with connected(pg_dsn) as connection:
        scene = Scene(connection)
        await sessions.open_session(connection, scene.session, "test", "default", 60)
        await scene.submit()
        yield scene


async def test_a_task_that_changed_hands_and_ended_once_is_clean(scene: Scene) -> None:
    old = await scene.claim()
    new = await scene.lose(old)
    assert await scene.complete(old) == set()
    assert await scene.complete(new) == {new.id}
    verdict = await scene.verdict()
    assert verdict.clean, verdict
    assert (verdict.completed, verdict.leases_lost) == (1, 1)


async def test_stale_writes_of_the_witness_are_refused_and_counted(scene: Scene) -> None:
    old = await scene.claim()
    await leases.release(scene.connection, [(old.id, old.token)])
    await scene.look()
    await scene.strike()
    assert (scene.impostor.against_holders, scene.evidence.stale_refused) == (0, 1)
    new = await scene.claim()
    await scene.strike()
    assert (scene.impostor.against_holders, scene.evidence.stale_refused) == (1, 2)
    await scene.complete(new)
    await scene.strike()
    assert (scene.evidence.stale_refused, scene.evidence.stale_accepted) == (3, [])
    assert (await scene.verdict()).clean


@pytest.mark.parametrize("write", impostor.WRITES)
async def test_an_engine_that_does_not_fence_is_found_out(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    monkeypatch.setattr(impostor, "WRITES", (write,))
    new = await scene.lose(await scene.claim())
    for name in ("finish", "retry", "release", "finish_and_claim"):
        monkeypatch.setattr(leases, name, unfenced(getattr(leases, name)))
    await scene.strike()
    monkeypatch.undo()
    assert await scene.complete(new) == set()
    verdict = await scene.verdict()
    assert verdict.counts()["stolen"] == 1
    assert f"the witness's {write} under the lost lease" in verdict.stolen[0].why


def unfenced(write: Callable[..., Awaitable[set[UUID]]]) -> Callable[..., Awaitable[set[UUID]]]:
    """The engine's write as it would be if nobody looked at tokens: it goes through under the one that holds."""

    async def written(connection: asyncpg.Connection, items: list[Any], *claim: Any) -> set[UUID]:
        (item,) = items
        task_id = item[0] if isinstance(item, tuple) else item.id
        token = await connection.fetchval("select token from seedcore.leases where id = $1", task_id)
        return await write(
            connection, [(task_id, token) if isinstance(item, tuple) else replace(item, token=token)], *claim
        )

    return written


async def test_a_result_written_under_a_lost_lease_is_stolen(scene: Scene) -> None:
    old = await scene.claim()
    await scene.lose(old)
    await scene.connection.execute("update seedcore.leases set token = $1", old.token)
    await scene.complete(old)
    verdict = await scene.verdict()
    assert verdict.counts() == {"lost": 0, "twice": 0, "stolen": 1, "unanswered": 0}
    whys = " ".join(finding.why for finding in verdict.stolen)
    assert "was issued" in whys
    assert "taken away" in whys


async def test_a_result_of_another_leases_run_is_stolen(scene: Scene) -> None:
    """The row names the right lease, and holds what a stale worker made."""
    old = await scene.claim()
    new = await scene.lose(old)
    stale = uuid4().hex
    scene.evidence.runs[stale] = Run(str(old.id), old.token, 1, 1.0, ended=9.0)
    await scene.complete(new)
    result = json.dumps({"run": stale, "token": old.token, "attempt": 1})
    await scene.connection.execute("update seedcore.finished set result = $1::jsonb", result)
    verdict = await scene.verdict()
    assert [f"made under {old.token}" in finding.why for finding in verdict.stolen] == [True]


async def test_a_second_completion_is_found_by_its_event(scene: Scene) -> None:
    lease = await scene.claim()
    await scene.complete(lease)
    await scene.connection.execute(
        "insert into seedcore.events (event, task_ids) values ('completed', array[$1::uuid])", lease.id
    )
    assert (await scene.verdict()).counts()["twice"] == 1


async def test_an_end_that_is_written_over_is_found(scene: Scene) -> None:
    lease = await scene.claim()
    await scene.complete(lease)
    await scene.connection.execute("update seedcore.finished set attempts = attempts + 1, token = token + 1000")
    assert (await scene.verdict()).counts()["twice"] == 1


async def test_an_end_that_vanishes_is_found(scene: Scene) -> None:
    lease = await scene.claim()
    await scene.complete(lease)
    await scene.connection.execute("delete from seedcore.finished")
    counts = (await scene.verdict()).counts()
    assert (counts["twice"], counts["lost"]) == (1, 1)


async def test_an_ended_task_that_would_run_again_is_found(scene: Scene) -> None:
    lease = await scene.claim()
    await scene.complete(lease)
    await scene.connection.execute(
        "insert into seedcore.leases (id, token, owner, attempts) values ($1, nextval('seedcore.ticks'), $2, 2)",
        *(lease.id, scene.session),
    )
    counts = (await scene.verdict()).counts()
    assert (counts["twice"], counts["stolen"]) == (1, 1)


async def test_an_acknowledged_task_that_is_gone_is_lost(scene: Scene) -> None:
    await scene.submit()
    lease = await scene.claim()
    await scene.complete(lease)
    await scene.connection.execute("delete from seedcore.ready")
    await scene.connection.execute("delete from seedcore.tasks where id <> $1", lease.id)
    assert (await scene.verdict()).counts() == {"lost": 1, "twice": 0, "stolen": 0, "unanswered": 0}


async def test_a_task_that_waits_nowhere_is_lost(scene: Scene) -> None:
    await scene.connection.execute("delete from seedcore.ready")
    (finding,) = (await scene.verdict()).lost
    assert "no table" in finding.why


async def test_a_key_with_two_tasks_is_found(scene: Scene) -> None:
    lease = await scene.claim()
    await scene.complete(lease)
    await scene.connection.execute(
        "insert into seedcore.tasks (id, type, params, max_attempts, idempotency_key) "
        "select gen_random_uuid(), type, params, max_attempts, idempotency_key from seedcore.tasks"
    )
    verdict = await scene.verdict()
    whys = " ".join(finding.why for finding in verdict.twice)
    assert "has 2 tasks" in whys
    assert "nobody was told of it" in whys
