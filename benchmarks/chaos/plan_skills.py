"""Six skills that only a plan brings together: 1, then 2 and 3 side by side, then 4, which needs both, 5 and 6.

Two of them are of the organ that has a host of its own. Each hands on which runs it took from, so the plan's result
names the very runs whose results were recorded, and writes what it does into the journal.
"""

import asyncio
from uuid import uuid4

from pydantic import BaseModel

from benchmarks.chaos.skills import TIMEOUT_S, note
from seedcore.skills import SkillContext, skill

GOAL = "chaos_6"
LEVELS = 6
NAMES = tuple(f"chaos.plan.{level}" for level in range(1, LEVELS + 1))
SLEEP_S = 0.05


class Start(BaseModel):
    """What a goal begins with: `chaos_n` tells plans apart."""

    chaos_n: int


class One(BaseModel):
    """The runs so far; the first entry is the plan's number."""

    chaos_1: list[str]


class Two(BaseModel):
    """As `One`."""

    chaos_2: list[str]


class Three(BaseModel):
    """As `One`."""

    chaos_3: list[str]


class Both(Two, Three):
    """What the two branches gave."""


class Four(BaseModel):
    """As `One`."""

    chaos_4: list[str]


class Five(BaseModel):
    """As `One`."""

    chaos_5: list[str]


class Six(BaseModel):
    """As `One`."""

    chaos_6: list[str]


@skill(NAMES[0], timeout_s=TIMEOUT_S)
async def one(params: Start, context: SkillContext) -> One:
    """The first step."""
    return One(chaos_1=await _run(1, [str(params.chaos_n)], context))


@skill(NAMES[1], organ="apart", timeout_s=TIMEOUT_S)
async def two(params: One, context: SkillContext) -> Two:
    """One branch."""
    return Two(chaos_2=await _run(2, params.chaos_1, context))


@skill(NAMES[2], timeout_s=TIMEOUT_S)
async def three(params: One, context: SkillContext) -> Three:
    """The other branch."""
    return Three(chaos_3=await _run(3, params.chaos_1, context))


@skill(NAMES[3], timeout_s=TIMEOUT_S)
async def four(params: Both, context: SkillContext) -> Four:
    """Both come together."""
    return Four(chaos_4=await _run(4, list(dict.fromkeys(params.chaos_2 + params.chaos_3)), context))


@skill(NAMES[4], organ="apart", timeout_s=TIMEOUT_S)
async def five(params: Four, context: SkillContext) -> Five:
    """The last but one."""
    return Five(chaos_5=await _run(5, params.chaos_4, context))


@skill(NAMES[5], timeout_s=TIMEOUT_S)
async def six(params: Five, context: SkillContext) -> Six:
    """The last step."""
    return Six(chaos_6=await _run(6, params.chaos_5, context))


async def _run(level: int, before: list[str], context: SkillContext) -> list[str]:
    run = uuid4().hex
    about = {"level": level, "n": int(before[0])}
    note("begin", run, task=context.task_id, token=context.lease_token, attempt=context.attempt, **about)
    await asyncio.sleep(SLEEP_S)
    note("end", run, **about)
    return [*before, run]
