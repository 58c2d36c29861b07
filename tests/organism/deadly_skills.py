"""Skills that take their process with them."""

import os

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
