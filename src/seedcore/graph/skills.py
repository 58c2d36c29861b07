"""Skills of the graph, on the queue `graph`."""

from pydantic import BaseModel

from seedcore.errors import NotConfiguredError
from seedcore.skills.skill_decorator import SkillContext, skill


class SyncGraph(BaseModel):
    """Bring the graph up to date."""


class SyncedGraph(BaseModel):
    """What was done."""


@skill("graph.sync", organ="utility", slow=True, platform=True)
async def graph_sync(params: SyncGraph, context: SkillContext) -> SyncedGraph:
    """Bring the graph up to what PostgreSQL knows."""
    raise NotConfiguredError("The graph is not built yet.")
