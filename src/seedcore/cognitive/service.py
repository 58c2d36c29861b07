"""The Serve deployment of the Cognitive service."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ray import serve

from seedcore.cognitive.planner import Bounds, find_plan
from seedcore.cognitive.schemas import PlanStep, PlanTaskRequest, PlanTaskResponse
from seedcore.errors import FieldError, InvalidInputError, OverloadedError
from seedcore.settings import Settings
from seedcore.skills import SkillRegistry
from seedcore.skills.signatures import Signature, signatures
from seedcore.tasks.plan import Plan
from seedcore.utils.serving import Operation, ServiceBase


class CognitiveService(ServiceBase):
    """Finds plans."""

    name = "CognitiveService"

    def __init__(self, args: Mapping[str, Any] | None = None, settings: Settings | None = None) -> None:
        super().__init__(args, settings)
        self._skills: dict[str, Signature] = {}
        self._inflight = 0

    def operations(self) -> Sequence[Operation]:
        """Planning; what needs a language model is not here yet."""
        return (Operation("POST", "/plan-task", self.plan_task, PlanTaskRequest, summary="Find a plan for a goal"),)

    async def start(self) -> None:
        """Learn what the skills take and give."""
        registry = await asyncio.to_thread(SkillRegistry.load, self.settings)
        self._skills = signatures(registry.values())

    async def health(self) -> Mapping[str, Any]:
        """Ready when the skills are known."""
        return {
            "ready": bool(self._skills),
            "skills": len(self._skills),
            "inflight": self._inflight,
            "llm_provider": self.settings.llm_provider,
        }

    async def plan_task(self, request: PlanTaskRequest) -> PlanTaskResponse:
        """Find the cheapest DAG of skills that reaches the goal from the inputs, by search over their types."""
        limit = self.settings.max_plan_steps
        if request.max_steps is not None and request.max_steps > limit:
            wrong = FieldError("max_steps", f"must be at most {limit} (MAX_PLAN_STEPS)")
            raise InvalidInputError(f"{wrong.field}: {wrong.message}", errors=[wrong])
        if self._inflight >= self.settings.cognitive_max_inflight:
            raise OverloadedError(
                f"{self._inflight} plans are being made already (COGNITIVE_MAX_INFLIGHT).", retry_after_s=1
            )
        if unknown := sorted(set(request.done.values()) - set(self._skills)):
            wrong = FieldError("done", f"no skill {unknown[0]!r}")
            raise InvalidInputError(f"{wrong.field}: {wrong.message}", errors=[wrong])
        deadline = time.monotonic() + self.settings.cognitive_timeout_s
        bounds = Bounds(request.max_steps or limit, deadline)
        self._inflight += 1
        try:
            plan = await asyncio.to_thread(
                find_plan,
                request.goal,
                request.inputs,
                self._skills,
                bounds,
                self.settings.llm_provider,
                without=request.without,
                done=request.done,
            )
        finally:
            self._inflight -= 1
        return answer(plan)


def answer(plan: Plan) -> PlanTaskResponse:
    """The plan as it goes over the wire."""
    steps = [PlanStep(id=s.id, skill=s.skill, params=s.params, needs=list(s.needs)) for s in plan.steps]
    return PlanTaskResponse(steps=steps, output=plan.output, cost=plan.cost, explored=plan.explored)


CognitiveDeployment = serve.deployment(name="CognitiveService")(serve.ingress()(CognitiveService))
