"""Client of the Cognitive service."""

from collections.abc import Mapping, Sequence
from typing import Any

from seedcore.clients.base import ServiceClient
from seedcore.cognitive.schemas import PlanStep, PlanTaskRequest, PlanTaskResponse

__all__ = ["CognitiveClient", "PlanStep", "PlanTaskRequest", "PlanTaskResponse"]


class CognitiveClient(ServiceClient):
    """Asks for plans."""

    app, prefix = "cognitive", "/cognitive"

    async def plan_task(
        self, goal: str | Sequence[str], inputs: Mapping[str, Any], max_steps: int | None = None
    ) -> PlanTaskResponse:
        """The cheapest plan that reaches `goal` from `inputs`.

        Raises:
            NoPlanError: there is none; the detail says what is missing.
        """
        wanted = goal if isinstance(goal, str) else list(goal)
        body = {"goal": wanted, "inputs": dict(inputs), "max_steps": max_steps}
        return PlanTaskResponse.model_validate(await self.call("POST", "/plan-task", body))
