"""A skill that takes as long as its agent needs for that kind of task; loaded by SEEDCORE_SKILLS."""

import asyncio
import re

from pydantic import BaseModel, Field

from benchmarks.routing.fleet import MEANS
from seedcore.skills import SkillContext, skill


class Work(BaseModel):
    """A task of some kind, and how its length differs from the mean."""

    kind: int = Field(ge=0, le=3)
    luck: float = Field(ge=0, le=100)


def _work(kind: int):
    @skill(f"bench.kind{kind}", organ="bench", timeout_s=300)
    async def work(params: Work, context: SkillContext) -> Work:
        """Sleep for the agent's mean times luck."""
        agent = int(re.findall(r"\d+", context.agent_id)[-1])
        await asyncio.sleep(MEANS[agent % len(MEANS)][params.kind] * params.luck)
        return params

    return work


kind0, kind1, kind2, kind3 = (_work(kind) for kind in range(4))
