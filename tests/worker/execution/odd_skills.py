"""Skills of each kind that raise, return or leave behind what they should not."""

import asyncio
import os
import sys
import threading
from contextvars import ContextVar
from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict

from seedcore.skills import SkillContext, skill

from .odd_exceptions import ODD

GO = threading.Event()


class Value(BaseModel):
    value: Any = None


class Score(Value):
    score: float = 0.0


class Constants(Score):
    model_config = ConfigDict(ser_json_inf_nan="constants")


def _deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


RESULTS: dict[str, tuple[Any, str]] = {
    "nan": (Score(score=float("nan")), "not finite"),
    "infinity": (Score(score=float("-inf")), "not finite"),
    "nan-inside": (Value(value={"a": [1, {"b": (1.0, float("nan"))}]}), "not finite"),
    "constants": (Constants(score=float("inf")), "not finite"),
    "large-integer": (Value(value=[2**70]), "64 bits"),
    "small-integer": (Value(value={"a": -(2**63) - 1}), "64 bits"),
    "surrogate": (Value(value="\ud800"), "cannot be written as JSON"),
    "surrogate-key": (Value(value={"\udfff": 1}), "cannot be written as JSON"),
    "nul": (Value(value="a\0b"), "U+0000"),
    "nul-key": (Value(value={"\0": 1}), "U+0000"),
    "deep": (Value(value=_deep(100)), "100 levels"),
    "too-deep-to-write": (Value(value=_deep(3000)), "cannot be written as JSON"),
    "large": (Value(value="x" * 2**20), "SEEDCORE_MAX_RESULT_BYTES"),
    "object": (Value(value=object()), "cannot be written as JSON"),
    "none": (None, "returned NoneType, declared is Value"),
    "dict": ({"value": 1}, "returned dict, declared is Value"),
}


def _raise(name: str) -> NoReturn:
    raise ODD[name][0]


@skill("async.raise")
async def async_raise(params: Value, context: SkillContext) -> Value:
    _raise(params.value)


@skill("thread.raise")
def thread_raise(params: Value, context: SkillContext) -> Value:
    _raise(params.value)


@skill("process.raise", process=True)
def process_raise(params: Value, context: SkillContext) -> Value:
    _raise(params.value)


@skill("async.give")
async def async_give(params: Value, context: SkillContext) -> Value:
    await asyncio.sleep(0.001)
    return params


@skill("async.wait")
async def async_wait(params: Value, context: SkillContext) -> Value:
    await asyncio.sleep(3600)
    return params


@skill("thread.give")
def thread_give(params: Value, context: SkillContext) -> Value:
    return params


@skill("process.give", process=True)
def process_give(params: Value, context: SkillContext) -> Value:
    return params


@skill("async.give-odd")
async def async_give_odd(params: Value, context: SkillContext) -> Value:
    result: Value = RESULTS[params.value][0]
    return result


@skill("thread.give-odd")
def thread_give_odd(params: Value, context: SkillContext) -> Value:
    result: Value = RESULTS[params.value][0]
    return result


@skill("process.give-odd", process=True)
def process_give_odd(params: Value, context: SkillContext) -> Value:
    result: Value = RESULTS[params.value][0]
    return result


@skill("async.gather")
async def async_gather(params: Value, context: SkillContext) -> Value:
    async def inside() -> None:
        await asyncio.sleep(0)
        _raise(params.value)

    await asyncio.gather(inside())
    return params


@skill("async.stop-loop")
async def async_stop_loop(params: Value, context: SkillContext) -> Value:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)
    return params


@skill("async.cancel-itself")
async def async_cancel_itself(params: Value, context: SkillContext) -> Value:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(1)
    return params


class SlowTextError(Exception):
    def __str__(self) -> str:
        GO.wait(60)
        return "at last"


@skill("thread.slow-text")
def thread_slow_text(params: Value, context: SkillContext) -> Value:
    raise SlowTextError


@skill("process.fork", process=True)
def process_fork(params: Value, context: SkillContext) -> Value:
    if (copy := os.fork()) == 0:
        sys.exit(5)
    os.waitpid(copy, 0)
    return params


class NoComparison:
    """As an array does: the comparison of two is no truth value."""

    def __eq__(self, other: object) -> bool:
        raise SystemExit(4)

    __hash__ = None  # type: ignore[assignment]


ODD_VARIABLE: ContextVar[NoComparison | None] = ContextVar("odd_variable", default=None)


@skill("async.odd-variable")
async def async_odd_variable(params: Value, context: SkillContext) -> Value:
    ODD_VARIABLE.set(NoComparison())
    return params
