"""Client of the Cognitive service."""

from collections.abc import Mapping, Sequence
from typing import Any

from seedcore.schemas.cognitive import MakeDecisionResponse, PlanStep, PlanTaskRequest, PlanTaskResponse, ReasonResponse
from seedcore.service_clients.service_client import ServiceClient

__all__ = ["CognitiveClient", "PlanStep", "PlanTaskRequest", "PlanTaskResponse"]


class CognitiveClient(ServiceClient):
    """Asks for plans, causes and decisions."""

    app, prefix = "cognitive", "/cognitive"

    async def plan_task(
        self,
        goal: str | Sequence[str],
        inputs: Mapping[str, Any],
        max_steps: int | None = None,
        *,
        without: Sequence[str] = (),
        done: Mapping[str, str] | None = None,
    ) -> PlanTaskResponse:
        """The cheapest plan that reaches `goal` from `inputs`, without some skills, from steps that are done.

        Raises:
            NoPlanError: there is none; the detail says what is missing.
        """
        wanted = goal if isinstance(goal, str) else list(goal)
        body: dict[str, Any] = {"goal": wanted, "inputs": dict(inputs), "max_steps": max_steps}
        if without or done:
            body |= {"without": list(without), "done": dict(done or {})}
        return PlanTaskResponse.model_validate(await self.call("POST", "/plan-task", body))

    async def reason_about_failure(self, request: Mapping[str, Any]) -> ReasonResponse:
        """What may have caused a failure; see `schemas.cognitive.ReasonRequest`."""
        return ReasonResponse.model_validate(await self.call("POST", "/reason-about-failure", request))

    async def make_decision(self, request: Mapping[str, Any]) -> MakeDecisionResponse:
        """The option of the least expected loss; see `schemas.cognitive.MakeDecisionRequest`."""
        return MakeDecisionResponse.model_validate(await self.call("POST", "/make-decision", request))
