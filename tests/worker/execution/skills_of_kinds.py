"""Skills that run in threads and processes, good and bad ones; a process imports them by name."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from seedcore.skills import SkillContext, SkillError, skill


class Value(BaseModel):
    value: Any = None


class Other(BaseModel):
    value: Any = None


ENDED: dict[str, str] = {}
"""How skills in threads ended, by task."""

GO = threading.Event()


@skill("thread.echo")
def thread_echo(params: Value, context: SkillContext) -> Value:
    return Value(value=[params.value, threading.current_thread().name])


@skill("thread.wait", timeout_s=30)
def thread_wait(params: Value, context: SkillContext) -> Value:
    """Looks at `context.cancelled`, as it should."""
    while not context.cancelled and not GO.is_set():
        time.sleep(0.005)
    ENDED[context.task_id] = "cancelled" if context.cancelled else "let go"
    return params


@skill("thread.deaf", timeout_s=30)
def thread_deaf(params: Value, context: SkillContext) -> Value:
    """Waits for GO alone, whatever is asked of it."""
    GO.wait(60)
    return params


RAISED: dict[str, BaseException] = {
    "runtime": RuntimeError("broken"),
    "final": SkillError("never", retryable=False),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "cancelled": asyncio.CancelledError(),
}


@skill("thread.raise")
def thread_raise(params: Value, context: SkillContext) -> Value:
    raise RAISED[params.value]


@skill("thread.loop")
def thread_loop(params: Value, context: SkillContext) -> Value:
    async def inside() -> str:
        return threading.current_thread().name

    return Value(value=context.run(inside()))


@skill("process.echo", process=True, timeout_s=30)
def process_echo(params: Value, context: SkillContext) -> Value:
    print("what a skill prints is not its answer", flush=True)
    return Value(value=[params.value, os.getpid(), context.task_id, context.agent_id, context.attempt])


def _spend(context: SkillContext) -> None:
    context.spend(tokens=10, money=0.5)
    context.spend(tokens=5)


@skill("async.spend")
async def async_spend(params: Value, context: SkillContext) -> Value:
    _spend(context)
    return params


@skill("thread.spend")
def thread_spend(params: Value, context: SkillContext) -> Value:
    _spend(context)
    raise ValueError("what it spent is spent")


@skill("process.spend", process=True, timeout_s=30)
def process_spend(params: Value, context: SkillContext) -> Value:
    _spend(context)
    return params


@skill("async.overdraw")
async def async_overdraw(params: Value, context: SkillContext) -> Value:
    context.spend(tokens=-1)
    return params


@skill("process.spin", process=True, timeout_s=30)
def process_spin(params: Value, context: SkillContext) -> Value:
    """Never ends, and holds the interpreter."""
    while True:
        sum(range(10**6))


@skill("process.end", process=True)
def process_end(params: Value, context: SkillContext) -> Value:
    match params.value:
        case "exit":
            os._exit(3)
        case "signal":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "sys.exit":
            sys.exit(4)
        case "raise":
            raise ValueError("redis://:hunter2@h is broken")
        case "final":
            raise SkillError("never", retryable=False)
        case "liar":
            return Other()  # type: ignore[return-value]
    return params


@skill("async.swallow", timeout_s=30)
async def async_swallow(params: Value, context: SkillContext) -> Value:
    """Ignores for a while that it is cancelled."""
    until = time.monotonic() + params.value
    while time.monotonic() < until:
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            continue
    return params


def interrupt() -> None:
    raise KeyboardInterrupt


ENDINGS: dict[str, Callable[[], object]] = {
    "sys.exit": lambda: sys.exit(3),
    "interrupt": interrupt,
    "os._exit": lambda: os._exit(3),
    "abort": os.abort,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


@skill("async.finish")
async def async_finish(params: Value, context: SkillContext) -> Value:
    await asyncio.sleep(0)
    ENDINGS[params.value]()
    return params


@skill("async.finish-behind")
async def async_finish_behind(params: Value, context: SkillContext) -> Value:
    """Ends at once; what it leaves behind raises an exit in the event loop itself."""
    asyncio.get_running_loop().call_soon(ENDINGS[params.value])
    return params


@skill("thread.finish")
def thread_finish(params: Value, context: SkillContext) -> Value:
    ENDINGS[params.value]()
    return params


@skill("process.finish", process=True)
def process_finish(params: Value, context: SkillContext) -> Value:
    ENDINGS[params.value]()
    return params


def _advance(context: SkillContext, count: int) -> None:
    for n in range(count):
        context.report_progress(n + 1, count, f"step {n + 1}")


@skill("async.progress")
async def async_progress(params: Value, context: SkillContext) -> Value:
    for n in range(params.value):
        await context.progress(n + 1, params.value, f"step {n + 1}")
    return params


@skill("thread.progress")
def thread_progress(params: Value, context: SkillContext) -> Value:
    _advance(context, params.value)
    return params


@skill("thread.run-progress")
def thread_run_progress(params: Value, context: SkillContext) -> Value:
    context.run(context.progress(params.value, None))
    return params


@skill("process.progress", process=True, timeout_s=30)
def process_progress(params: Value, context: SkillContext) -> Value:
    _advance(context, params.value)
    return params


@skill("process.progress-slowly", process=True, timeout_s=30)
def process_progress_slowly(params: Value, context: SkillContext) -> Value:
    _advance(context, 5)
    time.sleep(params.value)
    return params


@skill("process.progress-behind", process=True, timeout_s=30)
def process_progress_behind(params: Value, context: SkillContext) -> Value:
    """Leaves a thread behind that goes on reporting, and copies itself."""
    threading.Thread(
        target=lambda: [_advance(context, 50) or time.sleep(0.01) for _ in range(100)], daemon=True
    ).start()
    if os.fork() == 0:
        _advance(context, 7)
    return params


@skill("async.odd-progress")
async def async_odd_progress(params: Value, context: SkillContext) -> Value:
    await context.progress(1, 0)
    return params


@skill("async.leave")
async def async_leave(params: Value, context: SkillContext) -> Value:
    """Leaves a task behind that goes on without it."""
    left = asyncio.create_task(asyncio.sleep(3600))
    ENDED[context.task_id] = left.get_name()
    return params
