"""Skills that benchmarks run; a system of their own loads them by SEEDCORE_SKILLS."""

import asyncio
import time

from pydantic import BaseModel, Field

from seedcore.skills import SkillContext, skill


class Nap(BaseModel):
    """How long to sleep."""

    seconds: float = Field(ge=0, le=60)


@skill("bench.sleep", organ="utility", timeout_s=90)
async def sleep(params: Nap, context: SkillContext) -> Nap:
    """Sleep, without blocking the loop."""
    await asyncio.sleep(params.seconds)
    return params


class Nothing(BaseModel):
    """No params."""


class Moment(BaseModel):
    """When it was, in seconds since 1970."""

    at: float


@skill("bench.clock", organ="utility", timeout_s=5)
async def clock(params: Nothing, context: SkillContext) -> Moment:
    """Tell when it ran."""
    return Moment(at=time.time())
