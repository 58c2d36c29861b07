"""Skills that take their process with them, or keep it from everybody else."""

import asyncio
import os
import time

from pydantic import BaseModel

from seedcore.skills import SkillContext, skill


class Value(BaseModel):
    value: int = 0


@skill("die")
async def die(params: Value, context: SkillContext) -> Value:
    os._exit(3)


@skill("die_once")
async def die_once(params: Value, context: SkillContext) -> Value:
    if context.attempt == 1:
        os._exit(3)
    return params


@skill("alive")
async def alive(params: Value, context: SkillContext) -> Value:
    return params


@skill("block")
async def block(params: Value, context: SkillContext) -> Value:
    time.sleep(60)
    return params


@skill("nap")
async def nap(params: Value, context: SkillContext) -> Value:
    await asyncio.sleep(3)
    return params


@skill("die_in_process", process=True)
def die_in_process(params: Value, context: SkillContext) -> Value:
    os._exit(3)


@skill("remember")
def remember(params: Value, context: SkillContext) -> Value:
    """In a thread: counts in its agent's memory."""
    assert context.memory is not None
    count = context.run(context.memory.get("count", 0)) + 1
    context.run(context.memory.set("count", count))
    return Value(value=count)
