"""Client of the Cognitive service."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from seedcore.schemas.cognitive.capabilities import AssessCapabilitiesResponse
from seedcore.schemas.cognitive.decisions import MakeDecisionResponse
from seedcore.schemas.cognitive.failures import ReasonResponse
from seedcore.schemas.cognitive.memory_synthesis import SynthesizeMemoryResponse
from seedcore.schemas.cognitive.planning import EscalationIn, PlanStep, PlanTaskRequest, PlanTaskResponse
from seedcore.schemas.cognitive.problem_solving import SolveProblemResponse
from seedcore.service_clients.service_client import ServiceClient

__all__ = ["CognitiveClient", "PlanStep", "PlanTaskRequest", "PlanTaskResponse"]


class CognitiveClient(ServiceClient):
    """Requests what the Cognitive service answers: its six operations."""

    app, prefix = "cognitive", "/cognitive"

    async def plan_task(
        self,
        goal: str | Sequence[str],
        inputs: Mapping[str, object],
        max_steps: int | None = None,
        *,
        without: Sequence[str] = (),
        done: Mapping[str, str] | None = None,
        escalation: EscalationIn | None = None,
        tenant: str | None = None,
        plan_id: UUID | None = None,
        plan_tokens: float | None = None,
        plan_money: float | None = None,
    ) -> PlanTaskResponse:
        """The cheapest plan that reaches `goal` from `inputs`.

        Args:
            goal: fields, skills, or fields of skills; see `PlanTaskRequest`.
            inputs: values that exist already.
            max_steps: upper bound of the plan's steps; the service's own when None.
            without: skills not to run.
            done: the skill of each completed step, by the step's id.
            escalation: the task that the plan is for, where its stream looks unlike its past.
            tenant: whose memory is read, and whose budget pays for a language model.
            plan_id: task of the plan, whose budget pays as well.
            plan_tokens: that budget in tokens.
            plan_money: the same in money.

        Raises:
            NoPlanError: there is none; the detail says what is missing.
            LlmNotConfiguredError: the goal is free text, and there is no language model.
        """
        goals = goal if isinstance(goal, str) else list(goal)
        body: dict[str, object] = {"goal": goals, "inputs": dict(inputs), "max_steps": max_steps}
        if without or done:
            body |= {"without": list(without), "done": dict(done or {})}
        if escalation is not None:
            body["escalation"] = escalation.model_dump(mode="json")
        if tenant is not None or plan_id is not None:
            body |= {"tenant": tenant, "plan_id": None if plan_id is None else str(plan_id)}
        if plan_tokens is not None or plan_money is not None:
            body |= {"plan_tokens": plan_tokens, "plan_money": plan_money}
        return await self.call_model(PlanTaskResponse, "POST", "/plan-task", body)

    async def reason_about_failure(self, request: Mapping[str, object]) -> ReasonResponse:
        """Possible causes of a failure; see `schemas.cognitive.failures.ReasonRequest`."""
        return await self.call_model(ReasonResponse, "POST", "/reason-about-failure", request)

    async def make_decision(self, request: Mapping[str, object]) -> MakeDecisionResponse:
        """The option of the least expected loss; see `schemas.cognitive.decisions.MakeDecisionRequest`."""
        return await self.call_model(MakeDecisionResponse, "POST", "/make-decision", request)

    async def solve_problem(self, request: Mapping[str, object]) -> SolveProblemResponse:
        """An answer to a problem, a plan, or both; see `schemas.cognitive.problem_solving.SolveProblemRequest`."""
        return await self.call_model(SolveProblemResponse, "POST", "/solve-problem", request)

    async def synthesize_memory(self, request: Mapping[str, object]) -> SynthesizeMemoryResponse:
        """What memory says; see `schemas.cognitive.memory_synthesis.SynthesizeMemoryRequest`."""
        return await self.call_model(SynthesizeMemoryResponse, "POST", "/synthesize-memory", request)

    async def assess_capabilities(self, request: Mapping[str, object] | None = None) -> AssessCapabilitiesResponse:
        """Capability gaps; see `schemas.cognitive.capabilities.AssessCapabilitiesRequest`."""
        return await self.call_model(AssessCapabilitiesResponse, "POST", "/assess-capabilities", dict(request or {}))
