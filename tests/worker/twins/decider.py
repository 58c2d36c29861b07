"""Decisions and plans as a test says."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from seedcore.errors import InvalidInputError
from seedcore.tasks.model import Lease
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.ports import PlanRequest

FAST = RouteDecision("fast", "known_skill", "test", agent="a-1", host="h-1", delta_energy=0.5)


@dataclass
class ScriptedDecider:
    """Decides by a constant or a function of the task, or raises `error`.

    A batch with a task of which `refuses` is true is refused.
    """

    decision: RouteDecision | Callable[[Lease], RouteDecision] = FAST
    error: Exception | None = None
    refuses: Callable[[Lease], bool] = lambda _task: False

    ready = True

    def decide(self, tasks: Sequence[Lease]) -> list[RouteDecision]:
        if self.error is not None:
            raise self.error
        for task in tasks:
            if self.refuses(task):
                raise InvalidInputError(f"task {task.id} is refused")
        return [self.decision(task) if callable(self.decision) else self.decision for task in tasks]


@dataclass
class ScriptedPlanService:
    """Gives one plan, or what a function makes of the request; without either there is no plan service to ask."""

    answer: dict[str, Any] | Callable[[PlanRequest], Awaitable[Any]] | None = None
    requests: list[PlanRequest] = field(default_factory=list)

    async def plan(self, request: PlanRequest) -> Any:
        self.requests.append(request)
        if self.answer is None:
            raise AssertionError("this test plans nothing")
        return await self.answer(request) if callable(self.answer) else self.answer
