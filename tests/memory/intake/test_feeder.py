"""What the database's triggers write down, and what becomes of it."""

import json
from uuid import UUID, uuid4

import pytest

from seedcore.memory.facts.fact import FactDraft
from seedcore.memory.facts.fact_store import FactStore
from seedcore.memory.intake.feeder import MemoryFeeder
from seedcore.memory.long_term.items import FoundMemory
from seedcore.memory.long_term.store import MemoryStore
from seedcore.stores.postgres import Database
from seedcore.tasks import leases, sessions
from seedcore.tasks.model import Lease, Outcome, Status, StepSpec, TaskSpec, new_id
from seedcore.tasks.plans import repository
from seedcore.tasks.submission.submit import submit

SESSION = uuid4()


@pytest.fixture
def feeder(database: Database, store: MemoryStore) -> MemoryFeeder:
    return MemoryFeeder(database, store)


async def begin(database: Database, spec: TaskSpec) -> Lease:
    async with database.connection() as connection:
        await submit(connection, [spec])
        await sessions.open_session(connection, SESSION, "player", "default", 600)
        for slow in (False, True):
            if found := await leases.claim(connection, "default", SESSION, 1, slow=slow):
                return found[0]
    raise AssertionError("nothing to lease")


async def end(database: Database, lease: Lease, code: str | None = None, message: str = "it broke") -> None:
    status = Status.COMPLETED if code is None else Status.FAILED
    result = '{"value": 1}' if code is None else None
    outcome = Outcome(lease.id, lease.token, status, result, code, message, follow_up=lease.follow_up)
    async with database.connection() as connection:
        assert lease.id in await leases.finish(connection, [outcome])


async def planned(database: Database, fails: str | None = None, message: str = "") -> UUID:
    lease = await begin(
        database, TaskSpec("goal", json.dumps({"goal": "summary", "inputs": {"url": "x"}}), domain="web")
    )
    step = StepSpec(new_id(), "one", "web.fetch", '{"value": 1}', None, ())
    plan = json.dumps({"steps": [], "output": {"value": {"$from": "one", "field": "value"}}})
    async with database.connection() as connection:
        await repository.store_plan(connection, lease, '{"route": "plan"}', plan, [step])
        [own] = await leases.claim(connection, "default", SESSION, 1, slow=False)
    await end(database, own, fails, message)
    return lease.id


async def remembered(feeder: MemoryFeeder, store: MemoryStore, source: str, **more: str) -> list[FoundMemory]:
    await feeder.feed()
    assert (await feeder.queue.state()).waiting == 0
    found = await store.search("fetch summary lamp red incident failure", 50, **more)  # type: ignore[arg-type]
    return [memory for memory in found if memory.source == source]


async def test_an_ended_plan_is_remembered_with_its_steps(
    database: Database, feeder: MemoryFeeder, store: MemoryStore
) -> None:
    task = await planned(database)
    [memory] = await remembered(feeder, store, "plan")
    assert memory.text == "Plan for summary from url: web.fetch. It completed."
    assert (memory.scope, memory.source_id) == ("domain:web", str(task))
    assert memory.tags == ("completed", "plan", "web.fetch")
    assert memory.metadata["skills"] == ["web.fetch"]


async def test_the_same_plan_again_is_the_same_memory(
    database: Database, feeder: MemoryFeeder, store: MemoryStore
) -> None:
    await planned(database)
    last = await planned(database)
    [memory] = await remembered(feeder, store, "plan")
    assert memory.metadata["task"] == str(last)


async def test_a_failed_plan_says_where_and_why_without_secrets(
    database: Database, feeder: MemoryFeeder, store: MemoryStore
) -> None:
    await planned(database, "skill_failed", "cannot log in: password=hunter2")
    [memory] = await remembered(feeder, store, "plan")
    assert "web.fetch [failed skill_failed: cannot log in: password=***" in memory.text
    failures = await remembered(feeder, store, "failure")
    assert {memory.metadata["code"] for memory in failures} == {"skill_failed", "step_failed"}
    assert all("hunter2" not in memory.text for memory in [memory, *failures])


async def test_failures_of_a_kind_are_one_memory_of_their_tenant(
    database: Database, feeder: MemoryFeeder, store: MemoryStore
) -> None:
    for n in range(5):
        await end(database, await begin(database, TaskSpec("echo", "{}", tenant="acme")), "skill_failed", f"broke {n}")
    assert (await feeder.queue.state()).waiting == 1
    assert await remembered(feeder, store, "failure") == []
    [memory] = await remembered(feeder, store, "failure", tenant="acme")
    assert memory.text == "Tasks of type echo fail with code skill_failed: broke 0."
    await end(database, await begin(database, TaskSpec("echo", "{}", tenant="acme")), "skill_failed", "broke again")
    [memory] = await remembered(feeder, store, "failure", tenant="acme")
    assert memory.text == "Tasks of type echo fail with code skill_failed: broke again."


async def test_completed_tasks_leave_nothing_behind(database: Database, feeder: MemoryFeeder) -> None:
    await end(database, await begin(database, TaskSpec("echo", "{}")))
    assert (await feeder.queue.state()).waiting == 0


async def test_a_fact_is_remembered_as_long_as_it_is_there(
    database: Database, feeder: MemoryFeeder, store: MemoryStore
) -> None:
    facts = FactStore(database)
    fact = await facts.add(FactDraft("lamp", "is", "red"), "default")
    [memory] = await remembered(feeder, store, "fact")
    assert (memory.text, memory.source_id) == ("lamp is red", str(fact.id))
    await facts.change(fact.id, None, lambda _: FactDraft("lamp", "is", "blue"))
    [memory] = await remembered(feeder, store, "fact")
    assert memory.text == "lamp is blue"
    await facts.remove(fact.id, None)
    assert await remembered(feeder, store, "fact") == []


async def test_a_triage_is_remembered_once_it_has_ended(
    database: Database, feeder: MemoryFeeder, store: MemoryStore
) -> None:
    record = {
        "reasons": {"hypotheses": [{"name": "host_failing", "about": "host-3", "belief": 0.91}]},
        "decision": {"decision": "hold", "reason": "evidence is high"},
        "salience": {"score": 0.8},
        "series": {"data": {"values": [1.0] * 1000}},
    }
    async with database.connection() as connection:
        await connection.execute(
            "insert into seedcore.triages (id, hash, stream, dry_run, action, status, record)"
            " values ($1, 'h', 'web/echo', false, 'hold', 'acting', $2::jsonb)",
            triage := new_id(),
            json.dumps(record),
        )
        assert (await feeder.queue.state()).waiting == 0
        await connection.execute("update seedcore.triages set status = 'done' where id = $1", triage)
        payload = await connection.fetchval("select payload::text from seedcore.memory_intake")
    assert len(payload) < 500
    [memory] = await remembered(feeder, store, "triage")
    assert memory.text == (
        "Incident of the stream web/echo. Likely causes: host_failing host-3 (91%). "
        "Action: hold: evidence is high; it is done."
    )
    assert (memory.scope, round(memory.salience, 3)) == ("domain:web", 0.8)


async def test_what_a_dead_feeder_took_is_taken_again(
    database: Database, feeder: MemoryFeeder, store: MemoryStore
) -> None:
    await FactStore(database).add(FactDraft("lamp", "is", "red"), "default")
    assert len(await feeder.queue.take(10)) == 1
    assert await feeder.queue.take(10) == []
    async with database.connection() as connection:
        await connection.execute("update seedcore.memory_intake set taken_at = now() - interval '2 minutes'")
    assert len(await remembered(feeder, store, "fact")) == 1


async def test_a_change_while_the_old_one_is_being_remembered_is_not_lost(
    database: Database, feeder: MemoryFeeder, store: MemoryStore
) -> None:
    facts = FactStore(database)
    fact = await facts.add(FactDraft("lamp", "is", "red"), "default")
    taken = await feeder.queue.take(10)
    await facts.change(fact.id, None, lambda _: FactDraft("lamp", "is", "green"))
    await feeder.queue.done(taken)
    [memory] = await remembered(feeder, store, "fact")
    assert memory.text == "lamp is green"
