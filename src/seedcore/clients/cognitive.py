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
