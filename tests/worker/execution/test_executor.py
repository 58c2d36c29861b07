"""Running skills: bounded in time, size and number, and every ending told as what it was."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextvars import ContextVar
from typing import Any

import pytest
from pydantic import BaseModel

from seedcore.errors import NotConfiguredError, NotFoundError, OverloadedError, SkillError, UnavailableError
from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.settings import load_settings
from seedcore.skills import SkillContext, SkillRegistry, skill
from seedcore.skills.host_protocol import Call, Completion
from seedcore.skills.skill_decorator import MARK
from seedcore.worker.execution.attempt_codec import MAX_MESSAGE
from seedcore.worker.execution.executor import SkillExecutor

SECRET = "hunter2"


class Value(BaseModel):
    value: Any = None


class Other(BaseModel):
    value: Any = None


class Seen:
    """What the skills of this file told about themselves."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.contexts: list[SkillContext] = []
        self.running = 0
        self.most = 0
        self.started = asyncio.Event()
        self.go = asyncio.Event()


seen: Seen


@skill("echo")
async def echo(params: Value, context: SkillContext) -> Value:
    seen.contexts.append(context)
    return params


@skill("sleep", timeout_s=30)
async def sleep(params: Value, context: SkillContext) -> Value:
    seen.started.set()
    seen.running += 1
    seen.most = max(seen.most, seen.running)
    try:
        await asyncio.sleep(params.value)
    except asyncio.CancelledError:
        seen.cancelled.append(context.task_id)
        raise
    finally:
        seen.running -= 1
    return params


@skill("wait", timeout_s=30)
async def wait(params: Value, context: SkillContext) -> Value:
    await seen.go.wait()
    return params


RAISED: dict[str, BaseException] = {
    "runtime": RuntimeError(f"cannot reach redis://:{SECRET}@h\0"),
    "skill": SkillError(f"busy at postgresql://u:{SECRET}@h/d"),
    "final": SkillError("never", retryable=False),
    "unavailable": UnavailableError("no database"),
    "overloaded": OverloadedError("later"),
    "missing": NotFoundError("no such model"),
    "unset": NotConfiguredError("set it"),
    "timeout": TimeoutError("inner"),
    "cancelled": asyncio.CancelledError(),
    "exit": SystemExit(3),
    "long": RuntimeError("x" * 10_000),
}


@skill("raise")
async def fail(params: Value, context: SkillContext) -> Value:
    raise RAISED[params.value]


@skill("strict")
async def strict(params: Value, context: SkillContext) -> Value:
    """Trips over a model of its own, not over its params."""
    Answer.model_validate({"n": "x"})
    return params


class Answer(BaseModel):
    n: int


class Narrow(BaseModel):
    n: int
    inner: list[Answer] = []


@skill("narrow")
async def narrow(params: Narrow, context: SkillContext) -> Narrow:
    return params


@skill("liar")
async def liar(params: Value, context: SkillContext) -> Value:
    return Other(value=1)  # type: ignore[return-value]


@skill("unwritable")
async def unwritable(params: Value, context: SkillContext) -> Value:
    return Value(value={"broken", object()})


@skill("cancels-itself")
async def cancels_itself(params: Value, context: SkillContext) -> Value:
    """Asks for its own end and returns before that can reach it."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    return params


MARKED: ContextVar[str] = ContextVar("marked", default="clean")


@skill("mark")
async def mark(params: Value, context: SkillContext) -> Value:
    before = MARKED.get()
    MARKED.set(context.task_id)
    return Value(value=before)


@skill("busy")
async def busy(params: Value, context: SkillContext) -> Value:
    """Works for a moment without ever waiting."""
    time.sleep(params.value)
    return params


@skill("swallow", timeout_s=30)
async def swallow(params: Value, context: SkillContext) -> Value:
    """Goes on for a moment after it was told to end."""
    try:
        await seen.go.wait()
    except asyncio.CancelledError:
        await asyncio.sleep(0.01)
    return params


SKILLS = [cancels_itself, mark, busy, swallow, echo, sleep, wait, fail, strict, narrow, liar, unwritable]


@pytest.fixture(autouse=True)
def _forget() -> None:
    global seen
    seen = Seen()


@pytest.fixture
def book() -> AgentRegistry:
    return AgentRegistry("utility", ["a-1", "a-2"])


def make(book: AgentRegistry, **given: Any) -> SkillExecutor:
    return SkillExecutor(SkillRegistry([getattr(f, MARK) for f in SKILLS]), load_settings(**given), book)


@pytest.fixture
def executor(book: AgentRegistry) -> SkillExecutor:
    return make(book)


def call(name: str, value: Any = None, *, task: str = "t-1", timeout_s: float | None = None, **given: Any) -> Call:
    params = given.pop("params", json.dumps({"value": value}))
    return Call(task, 7, 2, name, params, given.pop("agent", "a-1"), timeout_s, "key-1")


async def run(executor: SkillExecutor, calls: Sequence[Call]) -> dict[str, Completion]:
    async with asyncio.timeout(10):
        return {c.task_id: c async for chunk in executor.run(calls) for c in chunk}


async def one(executor: SkillExecutor, *args: Any, **given: Any) -> Completion:
    (completion,) = (await run(executor, [call(*args, **given)])).values()
    return completion


async def test_a_result_comes_back_as_json_under_its_token(executor: SkillExecutor):
    done = await one(executor, "echo", {"a": [1, None, "ü"]})
    assert (done.ok, done.task_id, done.token, done.agent, done.skill) == (True, "t-1", 7, "a-1", "echo")
    assert json.loads(done.result or "") == {"value": {"a": [1, None, "ü"]}}
    assert (done.error_code, done.error_message) == (None, None)
    assert done.seconds >= 0


async def test_a_skill_is_told_of_its_task(executor: SkillExecutor):
    await one(executor, "echo")
    (context,) = seen.contexts
    assert (context.task_id, context.attempt, context.lease_token, context.idempotency_key) == ("t-1", 2, 7, "key-1")
    assert context.logger is not None


async def test_no_call_makes_no_completion(executor: SkillExecutor):
    assert await run(executor, []) == {}


@pytest.mark.parametrize(
    ("raised", "code", "retryable"),
    [
        ("runtime", "skill_failed", True),
        ("skill", "skill_failed", True),
        ("final", "skill_failed", False),
        ("unavailable", "unavailable", True),
        ("overloaded", "overloaded", True),
        ("missing", "not_found", False),
        ("unset", "not_configured", False),
        ("timeout", "skill_failed", True),
        ("cancelled", "skill_failed", True),
        ("exit", "skill_failed", True),
    ],
)
async def test_what_a_skill_raises_is_told_with_code_and_whether_to_try_again(
    executor: SkillExecutor, raised: str, code: str, retryable: bool
):
    done = await one(executor, "raise", raised)
    assert (done.ok, done.error_code, done.retryable, done.result) == (False, code, retryable, None)
    assert done.error_message
    assert SECRET not in done.error_message
    assert "\0" not in done.error_message


async def test_a_long_message_is_cut(executor: SkillExecutor):
    assert len((await one(executor, "raise", "long")).error_message or "") == MAX_MESSAGE


async def test_a_timeout_inside_a_skill_is_not_told_as_its_time_limit(executor: SkillExecutor):
    assert "took longer" not in ((await one(executor, "raise", "timeout")).error_message or "")


@pytest.mark.parametrize(
    ("params", "field"),
    [('{"n": "x"}', "n"), ("{}", "n"), ('{"n": 1, "inner": [{"n": 1}, {}]}', "inner.1.n"), ("{", "JSON")],
)
async def test_params_that_do_not_fit_are_told_by_field_and_not_tried_again(
    executor: SkillExecutor, params: str, field: str
):
    done = await one(executor, "narrow", params=params)
    assert (done.ok, done.error_code, done.retryable) == (False, "invalid_params", False)
    assert field in (done.error_message or "")


async def test_a_model_that_fails_inside_a_skill_is_the_skills_own_failure(executor: SkillExecutor):
    done = await one(executor, "strict")
    assert (done.error_code, done.retryable) == ("skill_failed", True)


async def test_an_unknown_skill_is_not_tried_again(executor: SkillExecutor):
    done = await one(executor, "nope")
    assert (done.error_code, done.retryable) == ("not_found", False)
    assert "'nope'" in (done.error_message or "")


async def test_a_result_of_another_type_is_told_with_both_types(executor: SkillExecutor):
    done = await one(executor, "liar")
    assert (done.error_code, done.retryable) == ("skill_failed", False)
    assert done.error_message == "the skill returned Other, declared is Value"


async def test_a_result_over_the_limit_is_refused(book: AgentRegistry):
    executor = make(book, max_result_bytes=1024)
    assert (await one(executor, "echo", "ü" * 500)).ok
    done = await one(executor, "echo", "ü" * 507)
    assert (done.ok, done.retryable) == (False, False)
    assert "1024 bytes (SEEDCORE_MAX_RESULT_BYTES)" in (done.error_message or "")


async def test_a_result_that_postgresql_cannot_keep_is_refused(executor: SkillExecutor):
    done = await one(executor, "echo", "a\0b")
    assert (done.ok, done.retryable) == (False, False)
    assert "U+0000" in (done.error_message or "")
    assert (await one(executor, "echo", "a\\u0000b")).ok, "text about U+0000 is no U+0000"


async def test_a_result_too_deep_to_be_read_back_is_refused(executor: SkillExecutor):
    done = await one(executor, "echo", params='{"value": ' + "[" * 150 + "]" * 150 + "}")
    assert (done.ok, done.retryable) == (False, False)
    assert "100 levels" in (done.error_message or "")


async def test_a_result_that_is_no_json_is_a_failure_of_the_skill(executor: SkillExecutor):
    done = await one(executor, "unwritable")
    assert (done.ok, done.error_code) == (False, "skill_failed")


@pytest.mark.parametrize("own", [True, False], ids=["of the call", "of the settings"])
async def test_a_slow_skill_is_cancelled_at_its_time_limit(book: AgentRegistry, own: bool):
    executor = make(book, skill_timeout_s=0.05)
    limited = call("sleep", 30, timeout_s=0.05) if own else call("wait")
    if not own:
        object.__setattr__(executor._registry["wait"], "timeout_s", None)
    done = (await run(executor, [limited]))["t-1"]
    if not own:
        object.__setattr__(executor._registry["wait"], "timeout_s", 30)
    assert (done.ok, done.error_code, done.retryable) == (False, "skill_timeout", True)
    assert done.error_message == "the skill took longer than 0.05 s"
    assert seen.cancelled == (["t-1"] if own else [])
    assert 0.04 < done.seconds < 5


async def test_time_in_the_queue_is_not_time_of_the_skill(book: AgentRegistry):
    executor = make(book, host_concurrency=1)
    done = await run(executor, [call("sleep", 0.05, task=f"t-{n}", timeout_s=0.2) for n in range(8)])
    assert all(c.ok and c.seconds < 0.2 for c in done.values())


async def test_a_slow_task_does_not_hold_up_its_neighbours(executor: SkillExecutor):
    calls = [call("wait", task="slow"), *[call("echo", task=f"t-{n}") for n in range(20)]]
    order = []
    async with asyncio.timeout(10):
        async for chunk in executor.run(calls):
            order += [c.task_id for c in chunk]
            if len(order) == 20:
                seen.go.set()
    assert order[-1] == "slow"
    assert len(order) == 21


async def test_no_more_run_at_once_than_the_setting_says(book: AgentRegistry):
    executor = make(book, host_concurrency=3)
    batches = [[call("sleep", 0.01, task=f"{b}-{n}") for n in range(10)] for b in range(2)]
    for done in await asyncio.gather(*[run(executor, batch) for batch in batches]):
        assert len(done) == 10
    assert seen.most == 3


async def test_the_number_in_hand_counts_running_and_waiting(book: AgentRegistry):
    executor = make(book, host_concurrency=1)
    reading = asyncio.create_task(run(executor, [call("wait", task=f"t-{n}") for n in range(3)]))
    await asyncio.sleep(0.02)
    assert executor.running == 3
    assert book.agents["a-1"].running == 3
    seen.go.set()
    await reading
    assert executor.running == 0
    assert book.agents["a-1"].running == 0


async def test_quick_calls_share_a_task_and_waiting_ones_have_their_own(executor: SkillExecutor):
    before = len(asyncio.all_tasks())
    calls = [call("echo", task=f"e-{n}") for n in range(50)] + [call("wait", task=f"w-{n}") for n in range(20)]
    reading = asyncio.create_task(run(executor, calls))
    while executor.running != 20 or len(asyncio.all_tasks()) < before + 21:
        await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before + 1 + 20
    seen.go.set()
    assert all(c.ok for c in (await reading).values())


async def test_nothing_of_a_call_reaches_its_neighbours(executor: SkillExecutor):
    kinds = ["mark", "cancels-itself", "echo", "sleep"]
    calls = [call(kinds[n % 4], 0, task=f"t-{n}") for n in range(40)]
    done = await run(executor, calls)
    for n in range(40):
        completion = done[f"t-{n}"]
        assert completion.ok, completion
        if kinds[n % 4] == "mark":
            assert json.loads(completion.result or "") == {"value": "clean"}


async def test_busy_calls_let_the_others_have_a_turn(executor: SkillExecutor):
    chunks = [c async for c in executor.run([call("busy", 0.02, task=f"t-{n}") for n in range(5)])]
    assert len(chunks) > 1, "the first ones are told before the last one has run"


async def test_a_skill_that_goes_on_after_its_time_limit_is_believed(executor: SkillExecutor):
    done = await run(executor, [call("swallow", timeout_s=0.02), call("echo", task="t-2")])
    assert all(c.ok for c in done.values())


async def test_cancel_reaches_the_skill_and_is_told_as_such(executor: SkillExecutor):
    reading = asyncio.create_task(run(executor, [call("sleep", 30), call("echo", task="t-2")]))
    async with asyncio.timeout(20):
        await seen.started.wait()
    assert executor.cancel(["t-1", "unknown"]) == 1
    done = await reading
    assert (done["t-1"].error_code, done["t-1"].retryable) == ("cancelled", False)
    assert done["t-2"].ok
    assert seen.cancelled == ["t-1"]
    assert executor.cancel(["t-1"]) == 0


async def test_a_call_cancelled_before_its_first_step_ends_too(executor: SkillExecutor):
    chunks: AsyncIterator[list[Completion]] = executor.run([call("sleep", 30)])
    reading = asyncio.ensure_future(anext(chunks))
    # The generator has made its tasks, and none of them has had a turn yet.
    while executor.cancel(["t-1"]) == 0:
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        (done,) = await reading
    assert done.error_code == "cancelled"
    assert executor.running == 0


async def test_a_call_cancelled_while_it_waits_for_a_slot_ends_too(book: AgentRegistry):
    executor = make(book, host_concurrency=1)
    reading = asyncio.create_task(run(executor, [call("wait", task="first"), call("sleep", 30, task="second")]))
    await asyncio.sleep(0.02)
    assert executor.cancel(["second"]) == 1
    seen.go.set()
    done = await reading
    assert done["first"].ok
    assert done["second"].error_code == "cancelled"
    assert not seen.started.is_set(), "it never began"


async def test_cancel_reaches_every_attempt_at_a_task(executor: SkillExecutor):
    readings = [asyncio.create_task(run(executor, [call("sleep", 30)])) for _ in range(2)]
    await asyncio.sleep(0.02)
    assert executor.running == 2
    assert executor.cancel(["t-1"]) == 2
    for reading in readings:
        assert (await reading)["t-1"].error_code == "cancelled"
    assert executor.running == 0


async def test_when_the_reader_has_gone_its_calls_are_cancelled(executor: SkillExecutor, book: AgentRegistry):
    chunks = executor.run([call("echo"), call("sleep", 30, task="t-2")])
    assert [c.task_id for c in await anext(chunks)] == ["t-1"]
    await chunks.aclose()  # type: ignore[attr-defined]
    async with asyncio.timeout(20):
        while executor.running:
            await asyncio.sleep(0.01)
    assert seen.cancelled == ["t-2"]
    assert book.agents["a-1"].running == 0


async def test_agents_learn_from_good_and_bad_endings_but_not_from_cancelled_ones(
    executor: SkillExecutor, book: AgentRegistry
):
    await run(executor, [call("sleep", 0.05, task="g"), call("raise", "runtime", task="b"), call("echo", agent="a-2")])
    agent = book.agents["a-1"]
    assert (agent.completed, agent.failed) == (1, 1)
    assert agent.rates["sleep"].seconds > 0.04
    assert agent.rates["raise"].successes == 0
    assert book.agents["a-2"].completed == 1
    reading = asyncio.create_task(run(executor, [call("sleep", 30)]))
    await asyncio.sleep(0.02)
    executor.cancel(["t-1"])
    await reading
    assert (agent.completed, agent.failed) == (1, 1)
