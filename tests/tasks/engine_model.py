"""The engine as simple as it can be said: a dictionary of tasks. What the database does is held against it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

ENDED = ("finished", "dead")


@dataclass
class ModelTask:
    """A task; `place` is the table that must hold its id."""

    id: UUID
    priority: int = 0
    slow: bool = False
    max_attempts: int = 3
    limit: str | None = None
    deadline: bool = False
    parent: UUID | None = None
    step: str | None = None
    needs: frozenset[UUID] = frozenset()
    place: str = "ready"
    lane: bool = False
    attempts: int = 0
    held: str = ""
    planned: bool = False
    plans: int = 0
    plan_no: int = 0
    policy: str = "fail"
    replans: int = 0
    replanning: bool = False
    output: UUID | None = None
    need_skipped: bool = False
    budget: int | None = None
    spent: int = 0
    token: int = 0
    owner: UUID | None = None
    ended_as: str = ""
    ends: list[str] = field(default_factory=list)
    errors: list[tuple[int, str]] = field(default_factory=list)
    started: bool = False

    @property
    def status(self) -> str:
        if self.place in ("ready", "deferred", "gated"):
            return "queued"
        return {"leases": "running", "held": self.held}.get(self.place, self.ended_as)

    @property
    def over(self) -> bool:
        return self.place in ENDED

    @property
    def follow_up(self) -> bool:
        return self.parent is not None or self.limit is not None or self.deadline


class Model:
    """All tasks, the idempotency keys, the limits and the sessions (True: alive, False: its time is over)."""

    def __init__(self, limits: dict[str, int]) -> None:
        self.tasks: dict[UUID, ModelTask] = {}
        self.keys: dict[str, UUID] = {}
        self.limits = limits
        self.sessions: dict[UUID, bool] = {}
        self.clocks: set[UUID] = set()
        self.stale: list[tuple[UUID, int]] = []

    def of(self, *places: str) -> list[ModelTask]:
        return [t for t in self.tasks.values() if t.place in places]

    def children(self, parent: UUID) -> list[ModelTask]:
        return [t for t in self.tasks.values() if t.parent == parent]

    def family(self, task: ModelTask) -> list[ModelTask]:
        return [task, *(t for child in self.children(task.id) for t in self.family(child))]

    def enter(self, task: ModelTask) -> None:
        """It may run: at once, or when its key has room."""
        task.place, task.lane = ("ready" if task.limit is None else "gated"), task.slow

    def lease(self, task: ModelTask, token: int, owner: UUID) -> None:
        assert token > task.token, "a token must be greater than every one before it"
        task.place, task.token, task.owner, task.attempts = "leases", token, owner, task.attempts + 1

    def lose(self, task: ModelTask) -> None:
        if task.place == "leases":
            self.stale.append((task.id, task.token))

    def end(self, task: ModelTask, status: str, code: str = "") -> None:
        self.lose(task)
        task.place, task.ended_as = ("dead" if status == "failed" else "finished"), status
        task.ends.append(status)
        if status == "failed":
            task.errors.append((task.attempts, code))

    def put_off(self, task: ModelTask, code: str) -> None:
        self.lose(task)
        task.place = "deferred"
        task.errors.append((task.attempts, code))

    def release(self, task: ModelTask, slow: bool) -> None:
        self.lose(task)
        task.place, task.lane, task.attempts = "ready", task.slow or slow, task.attempts - 1

    def hold(self, task: ModelTask) -> None:
        self.lose(task)
        task.place, task.held, task.planned, task.attempts = "held", "approval", False, task.attempts - 1

    def plan(self, task: ModelTask, steps: list[ModelTask], policy: str, budget: int | None) -> None:
        """The plan's output is the first step's."""
        self.lose(task)
        task.place, task.held, task.planned = "held", "waiting", True
        task.plans += 1
        task.policy, task.output, task.replanning, task.budget = policy, steps[0].id, False, budget
        for step in steps:
            step.plan_no = task.plans
            step.place, step.held = ("held", "waiting") if step.needs else ("ready", "")
            self.tasks[step.id] = step

    def requeue(self, task: ModelTask) -> None:
        task.attempts, task.deadline, task.ended_as = 0, False, ""
        task.replans, task.replanning = 0, False
        self.enter(task)

    def settle(self, over: Iterable[ModelTask], waiting: list[UUID]) -> None:
        over = list(over)
        self.advance(over, waiting)
        self.admit({t.limit for t in over if t.limit is not None}, waiting)

    def advance(self, over: list[ModelTask], waiting: list[UUID]) -> None:
        settled = []
        parents = {t.parent for t in over if t.parent is not None}
        for parent in sorted((self.tasks[p] for p in parents), key=lambda t: t.id):
            if parent.place != "held" or not parent.planned:
                continue
            children = [c for c in self.children(parent.id) if c.plan_no == parent.plans]
            broken = any(c.over and c.ended_as != "completed" and not c.need_skipped for c in children)
            too_dear = parent.budget is not None and parent.spent > parent.budget
            if broken and not too_dear and parent.policy == "replan" and not parent.replans:
                self.cancel_all(children)
                parent.place, parent.lane, parent.planned = "ready", True, False
                parent.errors.append((parent.attempts, "step_failed"))
                parent.attempts, parent.replans, parent.replanning = max(0, parent.attempts - 1), 1, True
                continue
            if too_dear or (broken and parent.policy != "skip"):
                self.cancel_all(children)
                self.end(parent, "failed", "budget_exceeded" if too_dear else "step_failed")
                settled.append(parent)
                continue
            self.skip(children)
            waits = [c for c in children if c.place == "held" and c.held == "waiting" and not c.planned]
            for child in waits:
                if all(self.tasks[n].ended_as == "completed" for n in child.needs):
                    child.place, child.lane = "ready", child.slow
            if all(c.over for c in children):
                given = parent.output is not None and self.tasks[parent.output].ended_as == "completed"
                self.end(parent, "completed" if given else "failed", "" if given else "step_failed")
                settled.append(parent)
        if settled:
            self.settle(settled, waiting)

    def cancel_all(self, children: list[ModelTask]) -> None:
        for child in children:
            if not child.over:
                self.end(child, "cancelled")

    def skip(self, children: list[ModelTask]) -> None:
        """Those that need what did not complete are cancelled, and those that need them."""
        while lost := [
            c
            for c in children
            if c.place == "held" and c.held == "waiting" and not c.planned
            if any(self.tasks[n].over and self.tasks[n].ended_as != "completed" for n in c.needs)
        ]:
            for child in lost:
                self.end(child, "cancelled")
                child.need_skipped = True

    def admitted(self, key: str) -> int:
        """How many of a key have been let through and have not ended."""
        of_key = [t for t in self.tasks.values() if t.limit == key]
        return sum(t.place in ("ready", "leases") or (t.place == "held" and t.planned) for t in of_key)

    def admit(self, keys: Iterable[str], waiting: list[UUID]) -> None:
        """`waiting` is the order in which tasks stood before their gates."""
        for key in keys:
            room = self.limits[key] - self.admitted(key)
            queue = [self.tasks[i] for i in waiting if self.tasks[i].limit == key and self.tasks[i].place == "gated"]
            for task in queue[: max(0, room)]:
                task.place = "ready"

    def cancel(self, task: ModelTask, waiting: list[UUID]) -> bool:
        gone = [t for t in self.family(task) if not t.over]
        for one in gone:
            self.end(one, "cancelled")
        self.settle(gone, waiting)
        return bool(gone)

    def reap_lost(self, waiting: list[UUID]) -> None:
        self.sessions = {s: True for s, alive in self.sessions.items() if alive}
        lost = [t for t in self.of("leases") if t.owner not in self.sessions]
        for task in lost:
            if task.attempts < task.max_attempts:
                self.put_off(task, "lease_expired")
            else:
                self.end(task, "failed", "lease_expired")
        self.settle([t for t in lost if t.follow_up], waiting)

    def close_late(self, due: Iterable[UUID], waiting: list[UUID]) -> None:
        gone = []
        for task_id in due:
            self.clocks.discard(task_id)
            task = self.tasks[task_id]
            if not task.deadline:
                continue
            for one in self.family(task):
                if not one.over:
                    gone.append(one)
                    self.end(one, "failed" if one is task else "cancelled", "deadline_exceeded")
        self.settle(gone, waiting)

    def promote(self, due: Iterable[UUID]) -> None:
        for task_id in due:
            self.enter(self.tasks[task_id])
