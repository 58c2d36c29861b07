"""The Serve deployment of the Cognitive service."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ray import serve

from seedcore.cognitive.evidence_reader import Reader, reasoned
from seedcore.cognitive.expected_loss import Option, Requirement, choose, report
from seedcore.cognitive.planner import Bounds, find_plan
from seedcore.cognitive.reasoning import reason
from seedcore.errors import FieldError, InvalidInputError, OverloadedError
from seedcore.schemas.cognitive import (
    MakeDecisionRequest,
    MakeDecisionResponse,
    OptionIn,
    PlanStep,
    PlanTaskRequest,
    PlanTaskResponse,
    ReasonRequest,
    ReasonResponse,
)
from seedcore.service_clients.coordinator_client import CoordinatorClient
from seedcore.settings import Settings
from seedcore.skills import SkillRegistry
from seedcore.skills.signatures import Signature, signatures
from seedcore.tasks.plans.plan import PlanDefinition
from seedcore.web.service_base import Operation, ServiceBase

COORDINATOR_S = 5.0
"""Longest wait for what a stream's valve says; reasoning goes on without it."""


class CognitiveService(ServiceBase):
    """Finds plans, ranks causes of failures, chooses among options."""

    name = "CognitiveService"

    def __init__(self, args: Mapping[str, Any] | None = None, settings: Settings | None = None) -> None:
        super().__init__(args, settings)
        self._skills: dict[str, Signature] = {}
        self._coordinator = CoordinatorClient(self.settings, timeout_s=COORDINATOR_S)
        self._reader = Reader(self.settings, self._coordinator.valve)
        self._inflight = 0

    def operations(self) -> Sequence[Operation]:
        """Planning, reasoning and deciding; what needs a language model is not here yet."""
        return (
            Operation("POST", "/plan-task", self.plan_task, PlanTaskRequest, summary="Find a plan for a goal"),
            Operation(
                "POST", "/reason-about-failure", self.reason, ReasonRequest, summary="Rank what may be the cause"
            ),
            Operation("POST", "/make-decision", self.make_decision, MakeDecisionRequest, summary="Choose an option"),
        )

    async def start(self) -> None:
        """Learn what the skills take and give."""
        registry = await asyncio.to_thread(SkillRegistry.load, self.settings)
        self._skills = signatures(registry.values())

    async def stop(self) -> None:
        """Close connections."""
        await self._reader.aclose()
        await self._coordinator.aclose()

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
            raise InvalidInputError.for_fields([wrong])
        if self._inflight >= self.settings.cognitive_max_inflight:
            raise OverloadedError(
                f"{self._inflight} plans are being made already (COGNITIVE_MAX_INFLIGHT).", retry_after_s=1
            )
        if unknown := sorted(set(request.done.values()) - set(self._skills)):
            wrong = FieldError("done", f"no skill {unknown[0]!r}")
            raise InvalidInputError.for_fields([wrong])
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

    async def reason(self, request: ReasonRequest) -> ReasonResponse:
        """What may have caused a failure, ranked by how much likelier than chance it makes the history that is read."""
        read = await self._reader.read(request)
        found = reason(read.evidence)
        return reasoned(request, read, found)

    async def make_decision(self, request: MakeDecisionRequest) -> MakeDecisionResponse:
        """The option of the least expected loss among those whose requirements hold, and what would change it."""
        choice = choose([_option(option) for option in request.options], request.beliefs, request.facts)
        return MakeDecisionResponse.model_validate(report(choice))


def _option(given: OptionIn) -> Option:
    requires = tuple(Requirement(r.fact, r.op, r.value) for r in given.requires)
    return Option(given.name, given.cost, given.losses, given.otherwise, requires)


def answer(plan: PlanDefinition) -> PlanTaskResponse:
    """The plan as it goes over the wire."""
    steps = [PlanStep(id=s.id, skill=s.skill, params=s.params, needs=list(s.needs)) for s in plan.steps]
    return PlanTaskResponse(steps=steps, output=plan.output, cost=plan.cost, explored=plan.explored)


CognitiveDeployment = serve.deployment(name="CognitiveService")(serve.ingress()(CognitiveService))
