"""Skills that declare something about their tasks."""

from typing import Any

from pydantic import BaseModel

from seedcore.skills import RetryPolicy, SkillContext, skill


class Value(BaseModel):
    value: Any = None


@skill("declaring.once", retry=RetryPolicy(max_attempts=1))
async def once(params: Value, context: SkillContext) -> Value:
    return params


@skill("declaring.slow", slow=True)
async def slow(params: Value, context: SkillContext) -> Value:
    return params
