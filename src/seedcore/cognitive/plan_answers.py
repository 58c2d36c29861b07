"""Answers to plan-task that are given again: equal goals from inputs of the same types have the same plan."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping

from seedcore.memory.working.working_memory import WorkingMemory
from seedcore.schemas.cognitive.planning import PlanTaskRequest, PlanTaskResponse
from seedcore.skills import jsontypes
from seedcore.skills.signatures import Signature

NAMESPACE = "plans"
KEPT_S = 60.0
"""How long an answer is given again. What it rests on beside its key, such as learnt costs, is at most so old."""


def skills_digest(skills: Mapping[str, Signature]) -> str:
    """What planning knows of the skills: another digest, other plans."""
    return hashlib.sha256(repr(sorted((name, repr(skill)) for name, skill in skills.items())).encode()).hexdigest()


class PlanAnswers:
    """Plans of the offline engine in working memory, by goal, the types of the inputs, and the skills' digest."""

    def __init__(self, working: WorkingMemory) -> None:
        self._working = working

    async def get_or_make(
        self, request: PlanTaskRequest, skills: str, make: Callable[[], Awaitable[PlanTaskResponse]]
    ) -> PlanTaskResponse:
        """The kept answer, or the one that `make` gives; many that ask for the same at once share one search.

        A request that is escalated is not answered from memory: its answer depends on its task.
        """
        if request.escalation is not None:
            return await make()

        async def encoded() -> bytes:
            return (await make()).model_dump_json().encode()

        found = await self._working.get_or_make(NAMESPACE, _key(request, skills), encoded, KEPT_S)
        return PlanTaskResponse.model_validate_json(found)


def _key(request: PlanTaskRequest, skills: str) -> str:
    types = {name: jsontypes.shown(jsontypes.of_value(value)) for name, value in request.inputs.items()}
    asked = request.model_dump(mode="json", exclude={"inputs", "escalation", "tenant", "plan_id", "profile"})
    kind = json.dumps([asked, types, skills], sort_keys=True)
    return hashlib.sha256(kind.encode("utf-8", "surrogatepass")).hexdigest()
