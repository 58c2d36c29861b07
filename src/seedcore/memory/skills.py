"""Skills of memory."""

from pydantic import BaseModel, Field

from seedcore.errors import NotConfiguredError
from seedcore.memory.long_term.consolidation import Consolidation
from seedcore.memory.long_term.kept_memory import KeptMemory
from seedcore.memory.long_term.reembedding import Reembedding
from seedcore.skills.skill_decorator import SkillContext, skill


class Consolidate(BaseModel):
    """What to consolidate: all that is due, of all tenants. Null: as the settings say."""

    after_d: float | None = Field(None, ge=0, le=36_500, description="days that a memory stays as it is")
    max_loss: float | None = Field(
        None, ge=0, le=1, description="how far a memory may be from the one that stands for it"
    )


class Consolidated(BaseModel):
    """What was done, and what was lost."""

    scanned: int = Field(description="memories that were old enough")
    groups: int = Field(description="groups of memories that were alike")
    removed: int = Field(description="fewer memories than before")
    loss: float = Field(description="mean of 1 minus the cosine similarity between what went and what stays")
    worst: float = Field(description="the largest such distance")
    words_lost: float = Field(description="mean share of a group's different words that the one that stays lacks")
    sampled: int = Field(description="memories that were asked for by their own text, before and after")
    found_before: float | None = Field(description="share of these that were among the first ten")
    found_after: float | None = Field(description="share of which the one that stays is among the first ten")
    fallback: str | None = Field(None, description="`memory_without_vectors`: nothing can be compared")


@skill("memory.consolidate", organ="utility", slow=True, platform=True, timeout_s=3600)
async def memory_consolidate(params: Consolidate, context: SkillContext) -> Consolidated:
    """Make one memory of many that are alike, with a stated and measured loss."""
    if context.clients is None:
        raise NotConfiguredError("memory.consolidate needs the clients of its host.")
    kept = context.clients.keep(KeptMemory)
    settings = kept.settings
    work = Consolidation(
        kept.database,
        kept.store,
        kept.embedder.name,
        settings.memory_consolidate_after_d if params.after_d is None else params.after_d,
        settings.memory_max_loss if params.max_loss is None else params.max_loss,
    )

    async def report(done: int, total: int) -> None:
        await context.progress(done, total, "memories looked at")

    found = await work.run(report)
    return Consolidated.model_validate(found, from_attributes=True)


class Reembed(BaseModel):
    """What to embed again: every memory without a vector of the embedder in use."""


class ReembedDone(BaseModel):
    """What was done."""

    model: str = Field(description="the embedder in use")
    embedded: int = Field(description="vectors that were made")
    deleted: int = Field(description="vectors of other embedders that were deleted")


@skill("memory.reembed", organ="utility", slow=True, platform=True, timeout_s=6 * 3600)
async def memory_reembed(params: Reembed, context: SkillContext) -> ReembedDone:
    """Give every memory a vector of the embedder in use; a later attempt goes on where a killed one was."""
    if context.clients is None:
        raise NotConfiguredError("memory.reembed needs the clients of its host.")
    kept = context.clients.keep(KeptMemory)

    async def report(done: int) -> None:
        await context.progress(done, None, "memories embedded")

    done = await Reembedding(kept.database, kept.embedder).run(report)
    return ReembedDone.model_validate(done, from_attributes=True)
