"""Skills that always fail, with a retry policy and without."""

from pydantic import BaseModel

from seedcore.skills import RetryPolicy, SkillContext, skill


class Value(BaseModel):
    value: int


@skill("test.flaky", retry=RetryPolicy(base_s=2, max_s=10, max_attempts=7), slow=True)
async def flaky(params: Value, context: SkillContext) -> Value:
    """Always raises."""
    raise ConnectionError("away")


@skill("test.plain")
async def plain(params: Value, context: SkillContext) -> Value:
    """Always raises."""
    raise ConnectionError("away")


@skill("test.hasty", retry=RetryPolicy(base_s=0.01))
async def hasty(params: Value, context: SkillContext) -> Value:
    """Always raises."""
    raise ConnectionError("away")
