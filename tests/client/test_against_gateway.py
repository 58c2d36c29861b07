"""Both clients against the real gateway, over real HTTP and PostgreSQL."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel, SecretStr

from examples import submit as example
from seedcore import errors
from seedcore.client import AsyncSeedCore, NewTask, SubmitManyError, TaskFailedError
from seedcore.settings import Settings
from tests.api.conftest import Dispatcher
from tests.client.conftest import Caller, Gateway, leased

pytestmark = pytest.mark.integration


class Echo(BaseModel):
    value: Any


async def test_a_task_is_submitted_followed_and_typed(call: Caller, echoing: None):
    assert await call("run", "echo", Echo(value=[1, None, "ü"]), returns=Echo, timeout_s=15) == Echo(
        value=[1, None, "ü"]
    )
    task = await call("submit", "echo", {"value": 1}, priority=3, domain="d", timeout_s=0.1)
    assert (task.priority, task.domain, task.timeout_s) == (3, "d", 0.1)
    ended = await call("wait", str(task.id), timeout_s=15)
    assert (ended.status, ended.result) == ("completed", {"value": 1})
    assert ended.finished_at is not None
    assert ended.finished_at >= ended.created_at
    events = await call("events", task.id)
    assert [e.event for e in events] == ["submitted", "leased", "started", "completed"]
    assert await call("events", task.id, after=events[1].id) == events[2:]
    assert await call("events", task.id, after=events[-1].id) == []


async def test_a_key_gives_the_first_task_and_refuses_other_params(call: Caller):
    first = await call("submit", "echo", {"value": 1}, idempotency_key="order-42")
    again = await call("submit", "echo", {"value": 1}, idempotency_key="order-42")
    assert again.id == first.id
    with pytest.raises(errors.ConflictError, match="order-42"):
        await call("submit", "echo", {"value": 2}, idempotency_key="order-42")
    assert (await call("submit", "echo", {"value": 1})).id != first.id


async def test_what_the_gateway_refuses_is_raised_as_its_own_error(call: Caller):
    with pytest.raises(errors.InvalidInputError) as wrong:
        await call("submit", "echo", {"valeu": 1})
    assert {e.field for e in wrong.value.errors} == {"params.value"}
    with pytest.raises(errors.InvalidInputError, match="no_such_skill"):
        await call("submit", "no_such_skill")
    with pytest.raises(errors.TooLargeError, match="SEEDCORE_MAX_PARAMS_BYTES"):
        await call("submit", "echo", {"value": "x" * 300_000})
    for name in ("get", "cancel", "plan", "events", "wait"):
        with pytest.raises(errors.NotFoundError, match="There is no task"):
            await call(name, uuid4())


async def test_many_go_in_batches_and_come_back_in_pages(call: Caller):
    tasks = [NewTask(type="echo", params={"value": n}, queue="graph") for n in range(230)]
    ids = await call("submit_many", tasks, max_tasks=100)
    found = await call("find", queue="graph", page_size=60)
    assert [task.id for task in found] == ids[::-1]
    assert [task.params["value"] for task in found] == list(range(230))[::-1]
    assert len(await call("find", queue="graph", status="queued", limit=70, page_size=60)) == 70
    assert await call("find", task_type="text.keywords") == []
    assert (await call("queue")).queues["graph"].ready == 230


async def test_a_full_batch_is_within_what_the_gateway_takes(gateway: Gateway):
    large = {"value": "x" * 200_000}
    tasks = [NewTask(type="echo", params={"value": n}) for n in range(10_001)]
    async with AsyncSeedCore(gateway.url) as client:
        assert len(set(await client.submit_many(tasks))) == 10_001
        assert len(await client.submit_many(NewTask(type="echo", params=large) for _ in range(90))) == 90


async def test_a_refused_batch_says_what_was_accepted(call: Caller):
    tasks = [NewTask(type="echo", params={"value": n} if n != 13 else {}) for n in range(20)]
    with pytest.raises(SubmitManyError) as raised:
        await call("submit_many", tasks, max_tasks=10)
    assert len(raised.value.accepted) == len(raised.value.unsure) == 10
    assert [e.field for e in raised.value.errors] == ["tasks.13.params.value"]
    assert len(await call("find")) == 10


async def test_a_task_is_cancelled_retried_held_released_and_refused(call: Caller, dispatcher: Dispatcher):
    task = await call("submit", "echo", {"value": 1})
    assert (await call("cancel", task.id)).status == "cancelled"
    with pytest.raises(errors.ConflictError):
        await call("cancel", task.id)
    assert (await call("retry", task.id)).status == "queued"
    await dispatcher.hold(await leased(dispatcher), reason="costly")
    held = await call("get", task.id)
    assert held.status == "approval"
    assert held.decision is not None
    assert held.decision.reason == "costly"
    assert (await call("approve", task.id)).status == "queued"
    await dispatcher.hold(await leased(dispatcher))
    refused = await call("reject", task.id, "not today")
    assert (refused.status, refused.error.code, refused.error.message) == ("failed", "approval_rejected", "not today")


async def test_a_plan_shows_its_steps(call: Caller, dispatcher: Dispatcher):
    task = await call("submit", "goal", {"goal": "value", "inputs": {}})
    ids = await dispatcher.plan(await leased(dispatcher))
    assert [step.id for step in await call("plan", task.id)] == ids
    assert (await call("get", task.id)).status == "waiting"


async def test_run_raises_why_a_task_failed(call: Caller, dispatcher: Dispatcher):
    running = asyncio.create_task(call("run", "echo", {"value": 1}, timeout_s=15))
    await dispatcher.fail(await leased(dispatcher))
    with pytest.raises(TaskFailedError) as raised:
        await running
    assert (raised.value.code, raised.value.message) == ("skill_failed", "it broke")


async def test_a_task_nobody_runs_is_waited_for_no_longer_than_was_said(call: Caller):
    began = asyncio.get_running_loop().time()
    with pytest.raises(errors.DeadlineError, match="is queued after 1 s") as raised:
        await call("run", "echo", {"value": 1}, timeout_s=1)
    assert 0.9 < asyncio.get_running_loop().time() - began < 5
    assert (await call("get", raised.value.extra["task_id"])).status == "queued"


async def test_waiting_and_following_outlive_a_restart_of_the_gateway(
    call: Caller, gateway: Gateway, dispatcher: Dispatcher
):
    task = await call("submit", "echo", {"value": 1})
    waiting = asyncio.create_task(call("wait", task.id, timeout_s=18))
    following = asyncio.create_task(call("events", task.id))
    lease = await leased(dispatcher)
    await asyncio.to_thread(gateway.stop)
    await dispatcher.complete(lease, {"value": 1})
    assert not waiting.done()
    gateway.start()
    assert (await waiting).result == {"value": 1}
    assert [e.event for e in await following] == ["submitted", "leased", "started", "completed"]


async def test_a_submit_outlives_a_restart_of_the_gateway(call: Caller, gateway: Gateway):
    await asyncio.to_thread(gateway.stop)
    submitting = asyncio.create_task(call("submit", "echo", {"value": 1}))
    await asyncio.sleep(0.2)
    gateway.start()
    task = await submitting
    assert [found.id for found in await call("find")] == [task.id]


async def test_skills_are_listed_with_their_schemas(call: Caller):
    echo = next(skill for skill in await call("skills") if skill.name == "echo")
    assert echo.params_schema["properties"].keys() == {"value"}
    assert echo.timeout_s == 5


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_gateway_with_keys_lets_the_right_one_in(kind: str, pg_settings: Settings):
    gateway = Gateway(pg_settings.model_copy(update={"api_keys": SecretStr("one,two")}))
    gateway.start()
    try:
        assert await Caller(kind, gateway.url, api_key="two")("find") == []
        for key in (None, "three"):
            with pytest.raises(errors.UnauthorizedError, match="SEEDCORE_API_KEYS"):
                await Caller(kind, gateway.url, api_key=key)("find")
    finally:
        await asyncio.to_thread(gateway.stop)


async def test_the_example_runs(gateway: Gateway, echoing: None, capsys: pytest.CaptureFixture[str]):
    async with asyncio.timeout(60):
        status = await asyncio.to_thread(example.main, ["--base-url", gateway.url, "--tasks", "300"])
    told = capsys.readouterr()
    assert status == 0, told.err
    assert "run: Echo(value={'n': 2})" in told.out
    assert "submitted twice with one key: one task" in told.out
    assert "accepted 300 tasks" in told.out
    assert "the last one is completed: {'value': 299}" in told.out
    assert f"ten at once: {list(range(10))}" in told.out


async def test_the_example_says_when_nobody_is_there(settings: Settings, capsys: pytest.CaptureFixture[str]):
    assert await asyncio.to_thread(example.main, ["--base-url", "not a url"]) == 1
    assert "must look like http://127.0.0.1:8000" in capsys.readouterr().err
