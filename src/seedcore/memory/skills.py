"""Skills of memory: consolidation, forgetting, embedding again."""

from pydantic import BaseModel

from seedcore.errors import NotConfiguredError
from seedcore.skills.skill_decorator import SkillContext, skill


class Consolidate(BaseModel):
    """What to consolidate: everything that is due."""


class Consolidated(BaseModel):
    """What was done."""


@skill("memory.consolidate", organ="utility", slow=True, platform=True)
async def memory_consolidate(params: Consolidate, context: SkillContext) -> Consolidated:
    """Compress old memories."""
    raise NotConfiguredError("Consolidation is not built yet.")
