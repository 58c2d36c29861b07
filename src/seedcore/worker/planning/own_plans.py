"""Tasks that are known to be their own plan: others that look like them run without asking for one."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MAX_REMEMBERED = 10_000
"""Kinds of tasks that are known to be their own plan."""

GRACE_S = 2.0
"""While one task asks again, the others of its kind go on by the last answer for so long."""


@dataclass(frozen=True, slots=True)
class OwnPlan:
    """A task's plan is the task itself, for this reason; `again_s`: for so long that holds for others like it."""

    reason: str = "the cheapest plan is the skill itself"
    again_s: float = float("inf")


class OwnPlans:
    """Kinds of tasks and why they are their own plan, each until it is to be asked again; bounded."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._known: OrderedDict[str, tuple[float, OwnPlan]] = OrderedDict()
        self._clock = clock

    def __bool__(self) -> bool:
        return bool(self._known)

    def find(self, kind: str) -> OwnPlan | None:
        """Why tasks of this kind are their own plan; None: it is not known, or this task is to ask again."""
        until, plan = self._known.get(kind, (0.0, None))
        if plan is not None and self._clock() > until:
            self._known[kind] = self._clock() + GRACE_S, plan
            return None
        return plan

    def put(self, kind: str, plan: OwnPlan) -> None:
        """Remember it."""
        self._known[kind] = self._clock() + plan.again_s, plan
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)

    def forget(self, kind: str) -> None:
        """Tasks of this kind have another plan now."""
        self._known.pop(kind, None)
