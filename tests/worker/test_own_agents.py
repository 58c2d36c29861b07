"""Tasks of agents that live in the dispatcher's own process: no other process is asked."""

import asyncio
import json
from uuid import UUID

import pytest

from seedcore.skills.host_protocol import HANDED_BACK, Call, Completion
from seedcore.worker import in_flight
from tests.worker.conftest import World
from tests.worker.twins.decider import FAST, ScriptedDecider
from tests.worker.twins.host_pool import InMemoryHostPool, failed, good
from tests.worker.twins.local_host import InMemoryLocalHost

HERE = FAST._replace(host="w-0")


def elsewhere() -> InMemoryHostPool:
    """Other processes, which these tests do not need."""
    return InMemoryHostPool(good)


async def test_tasks_of_own_agents_run_here_and_those_of_others_elsewhere(world: World):
    decider = ScriptedDecider(lambda task: HERE if json.loads(task.params)["value"] < 20 else FAST)
    local, others = InMemoryLocalHost(good), elsewhere()
    async with world.dispatcher(decider, others, local=local) as dispatcher:
        for task_id in await world.submit(*range(30)):
            record = await world.until(task_id, "completed")
            assert (record.attempts, record.result) == (1, {"value": json.loads(record.params_text)["value"]})
        status = dispatcher.status()
    assert (len(local.calls), len(others.calls)) == (20, 10)
    assert (status["ran_here"], status["ran_elsewhere"]) == (20, 10)


async def test_what_is_handed_back_costs_no_attempt(world: World):
    returned: set[str] = set()

    def behave(call: Call) -> Completion:
        if call.task_id in returned:
            return good(call)
        returned.add(call.task_id)
        return failed(call, HANDED_BACK, "it is being drained")

    async with world.dispatcher(ScriptedDecider(HERE), elsewhere(), local=InMemoryLocalHost(behave)):
        for task_id in await world.submit(1, 2):
            assert (await world.until(task_id, "completed")).attempts == 1


async def test_cancel_reaches_the_skill(world: World):
    begun = asyncio.Event()

    async def behave(call: Call) -> Completion:
        begun.set()
        await asyncio.Event().wait()
        return good(call)

    local = InMemoryLocalHost(behave)
    async with world.dispatcher(ScriptedDecider(HERE), elsewhere(), local=local):
        (task_id,) = await world.submit(1)
        async with asyncio.timeout(20):
            await begun.wait()
            await world.engine.cancel(task_id)
            while str(task_id) not in local.cancelled:
                await asyncio.sleep(0.01)
    assert (await world.task(task_id)).status == "cancelled"


async def test_stopping_finishes_what_ends_in_time_and_releases_the_rest(world: World):
    release, begun = asyncio.Event(), asyncio.Event()

    async def behave(call: Call) -> Completion:
        if json.loads(call.params)["value"] == "endless":
            begun.set()
            await asyncio.Event().wait()
        await release.wait()
        return good(call)

    local = InMemoryLocalHost(behave)
    async with world.dispatcher(ScriptedDecider(HERE), elsewhere(), local=local) as dispatcher:
        quick, endless = await world.submit("quick", "endless")
        async with asyncio.timeout(20):
            await begun.wait()
        asyncio.get_running_loop().call_later(0.2, release.set)
        await dispatcher.stop(1.0)
        assert (await world.task(quick)).status == "completed"
        record = await world.task(endless)
        assert (record.status, record.attempts) == ("queued", 0)
        assert local.cancelled == [str(endless)]


async def test_a_task_that_was_held_for_long_says_that_it_begins_before_it_does(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(in_flight, "UNANNOUNCED_S", -1.0)
    seen: list[list[str]] = []

    async def behave(call: Call) -> Completion:
        seen.append(await world.events(UUID(call.task_id)))
        return good(call)

    async with world.dispatcher(ScriptedDecider(HERE), elsewhere(), local=InMemoryLocalHost(behave)):
        (task_id,) = await world.submit(1)
        await world.until(task_id, "completed")
    assert [events.count("started") for events in seen] == [1]
    assert (await world.events(task_id)).count("started") == 1
