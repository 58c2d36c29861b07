"""A skill that is still at work when SeedCore is stopped."""

import asyncio

from pydantic import BaseModel

from seedcore.skills import SkillContext, skill


class Nap(BaseModel):
    """How long to sleep."""

    seconds: float


@skill("nap", organ="utility", timeout_s=600)
async def nap(params: Nap, context: SkillContext) -> Nap:
    """Sleep."""
    await asyncio.sleep(params.seconds)
    return params
