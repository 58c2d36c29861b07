"""The task engine in memory, as far as a dispatcher relies on it: fencing, attempts, order, retries, deadlines, plans.

What it does not have (idempotency keys, limits, schedules, recipes, budgets, plans made again) is PostgreSQL's.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from seedcore.tasks.claims.claim_cursor import ClaimCursor
from seedcore.tasks.model import (
    EarlierPlan,
    Lease,
    Outcome,
    PlanTerms,
    Retry,
    Status,
    StepSpec,
    TaskSpec,
    Usage,
    lane_name,
)
from seedcore.tasks.plans.moves import MoveNote
from seedcore.tasks.queries import TaskRecord
from seedcore.tasks.reaping import MAX_UNCOUNTED
from seedcore.tasks.recovery.lost_leases import LastSession
from seedcore.tasks.retry import jittered_s
from seedcore.tasks.sessions import Heartbeat
from seedcore.worker.heartbeat import SETTLED_S
from seedcore.worker.ports import HeartbeatReport, LeaseEvents, LeaseKey

LATE = "deadline_exceeded"
MAX_DELAY_S = 1e10


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Task:
    """A task; `place` is ready, leased, deferred, held or ended."""

    new: TaskSpec
    created_at: datetime = field(default_factory=now)
    place: str = "ready"
    held_as: Status = Status.WAITING
    seq: int = 0
    lane_slow: bool = False
    attempts: int = 0
    uncounted: int = 0
    approved: bool = False
    token: int = 0
    owner: UUID | None = None
    leased_at: datetime | None = None
    run_at: datetime | None = None
    status: Status = Status.QUEUED
    finished_at: datetime | None = None
    result: str | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)
    decision: str | None = None
    events: list[str] = field(default_factory=lambda: ["submitted"])
    parent_id: UUID | None = None
    step: str | None = None
    bindings: str | None = None
    needs: set[UUID] = field(default_factory=set)
    plan: Mapping[str, Any] | None = None

    @property
    def late(self) -> bool:
        return self.new.deadline is not None and self.new.deadline <= now()


@dataclass
class Session:
    queue: str
    actor: str
    expires_at: float

    @property
    def expired(self) -> bool:
        return self.expires_at <= time.monotonic()


class InMemoryLeaseStore:
    """Tasks in a dictionary. Every write that names a stale token changes nothing, as in PostgreSQL."""

    def __init__(self) -> None:
        self.tasks: dict[UUID, Task] = {}
        self.sessions: dict[UUID, Session] = {}
        self._seqs, self._tokens = itertools.count(1), itertools.count(1)
        self._listeners: list[LeaseEvents] = []
        self._connections: set[asyncio.Event] = set()

    # What clients do.

    def submit(self, tasks: Iterable[TaskSpec]) -> list[UUID]:
        added = [Task(new, lane_slow=new.slow) for new in tasks]
        for task in added:
            self.tasks[task.new.id] = task
            self._enter(task, task.new.run_after)
        return [task.new.id for task in added]

    def cancel(self, task_id: UUID) -> None:
        task = self.tasks[task_id]
        for child in self._children(task):
            self.cancel(child.new.id)
        if task.place == "ended":
            return
        self._end(task, Status.CANCELLED, error=("cancelled", "cancelled on request"))
        for listener in list(self._listeners):
            listener.cancelled(task_id)

    def approve(self, task_id: UUID) -> None:
        task = self.tasks[task_id]
        assert (task.place, task.held_as) == ("held", Status.APPROVAL)
        task.approved = True
        self._enter(task)

    def reap(self, retry_within_s: float = 0.0) -> int:
        """Return what expired sessions hold; how many tasks run again."""
        for session in [key for key, session in self.sessions.items() if session.expired]:
            del self.sessions[session]
        lost = [t for t in self.tasks.values() if t.place == "leased" and t.owner not in self.sessions]
        returned = 0
        for task in lost:
            if task.attempts >= task.new.max_attempts:
                self._end(task, Status.FAILED, error=("lease_expired", "the worker was lost on the last attempt"))
                continue
            self._note_failure(task, "lease_expired", "")
            self._enter(task, now() + timedelta(seconds=retry_within_s))
            returned += 1
        return returned

    def record(self, task_id: UUID) -> TaskRecord:
        task, new = self.tasks[task_id], self.tasks[task_id].new
        failed = task.place == "ended" and task.status is not Status.COMPLETED
        error = {k: task.errors[-1][k] for k in ("code", "message")} if failed else None
        states = {"leased": Status.RUNNING, "held": task.held_as, "ended": task.status}
        return TaskRecord(
            id=new.id,
            type=new.type,
            params_text=new.params,
            status=states.get(task.place, Status.QUEUED),
            domain=new.domain,
            priority=new.priority,
            queue=new.queue,
            idempotency_key=new.idempotency_key,
            attempts=task.attempts,
            max_attempts=new.max_attempts,
            timeout_s=new.timeout_s,
            run_after=new.run_after,
            created_at=task.created_at,
            started_at=task.leased_at,
            finished_at=task.finished_at,
            result_text=task.result,
            error=error,
            decision_text=task.decision,
            parent_id=task.parent_id,
            step=task.step,
            deadline=new.deadline,
            limit_key=None,
            errors_text=json.dumps(task.errors),
            tenant=new.tenant,
            traceparent=new.traceparent,
            limits=(),
        )

    # What a dispatcher does: see `ports.LeaseStore`.

    async def open_session(
        self, session: UUID, name: str, queue: str, lease_s: float, actor: str, last: LastSession | None = None
    ) -> None:
        if last is not None:
            self._take_back(last)
        for other in self.sessions.values():
            if other.actor == actor:
                other.expires_at = float("-inf")
        self.sessions[session] = Session(queue, actor, time.monotonic() + lease_s)

    async def heartbeat(self, session: UUID, lease_s: float, report: Callable[[], HeartbeatReport]) -> Heartbeat:
        written = report()
        await self.started(written.started)
        written.on_started()
        known = self.sessions.get(session)
        if known is None:
            return Heartbeat(alive=False)
        known.expires_at = time.monotonic() + lease_s
        settled = now() - timedelta(seconds=SETTLED_S)
        owned = {(t.new.id, t.token): t.leased_at < settled for t in self._leased_by(session)}
        return Heartbeat(alive=True, reaped=True, owned=owned)

    async def close_session(self, session: UUID) -> None:
        self.sessions.pop(session, None)

    async def claim(self, queue: str, session: UUID, limit: int, *, slow: bool, cursor: ClaimCursor) -> list[Lease]:
        self._promote()
        known = self.sessions.get(session)
        if known is None or known.expired:
            return []
        lane = [t for t in self.tasks.values() if t.place == "ready" and t.new.queue == queue and t.lane_slow == slow]
        lane.sort(key=lambda t: (-t.new.priority, t.seq))
        claimed = []
        for task in lane[:limit]:
            if task.late:
                self._end(task, Status.FAILED, error=(LATE, "it did not end in time"))
            else:
                claimed.append(self._lease(task, session))
        return claimed

    async def finish_and_claim(
        self, outcomes: Sequence[Outcome], queue: str, session: UUID, limit: int, *, slow: bool, cursor: ClaimCursor
    ) -> tuple[set[UUID], list[Lease]]:
        return await self.finish(outcomes), await self.claim(queue, session, limit, slow=slow, cursor=cursor)

    async def finish(self, outcomes: Sequence[Outcome]) -> set[UUID]:
        for outcome in outcomes:
            _check(outcome.result, outcome.error_code, outcome.error_message, outcome.decision)
            _check_json(outcome.result)
        accepted = set()
        for outcome in outcomes:
            task = self._fenced(outcome.id, outcome.token)
            if task is None:
                continue
            if outcome.follow_up and task.late:
                self._end(task, Status.FAILED, error=(LATE, "it did not end in time"))
                continue
            if outcome.began:
                task.events.append("started")
            task.decision = outcome.decision
            error = None if outcome.error_code is None else (outcome.error_code, outcome.error_message or "")
            self._end(task, outcome.status, outcome.result, error)
            accepted.add(outcome.id)
        return accepted

    async def retry(self, retries: Sequence[Retry]) -> set[UUID]:
        for retry in retries:
            _check(retry.error_code, retry.error_message)
            if retry.delay_s > MAX_DELAY_S:
                raise asyncpg.DataError("interval out of range")
        accepted = set()
        for retry in retries:
            if (task := self._fenced(retry.id, retry.token)) is not None:
                self._note_failure(task, retry.error_code, retry.error_message)
                self._enter(task, now() + timedelta(seconds=retry.delay_s))
                accepted.add(retry.id)
        return accepted

    async def release(self, leases: Sequence[LeaseKey], *, slow: bool = False) -> set[UUID]:
        released = set()
        for key in leases:
            if (task := self._fenced(*key)) is not None:
                self._unlease(task)
                task.lane_slow = task.new.slow or slow
                self._enter(task)
                released.add(key[0])
        return released

    async def hold(self, lease: LeaseKey, decision: str, *, expires_s: float, on_expiry: str) -> bool:
        if expires_s > MAX_DELAY_S:
            raise asyncpg.DataError("interval out of range")
        task = self._fenced(*lease)
        if task is None:
            return False
        self._unlease(task)
        task.place, task.held_as, task.decision = "held", Status.APPROVAL, decision
        task.events.append("approval")
        return True

    async def started(self, leases: Sequence[LeaseKey]) -> None:
        for key in leases:
            if (task := self._fenced(*key)) is not None:
                task.events.append("started")

    async def bind(self, leases: Sequence[Lease]) -> list[tuple[str, str | None]]:
        return [self._bound(lease) for lease in leases]

    async def read_earlier_plan(
        self, task_id: UUID, signature: str
    ) -> tuple[EarlierPlan | None, Mapping[str, object] | None]:
        return None, None

    async def store_plan(
        self,
        lease: Lease,
        decision: str,
        plan: str,
        steps: Sequence[StepSpec],
        terms: PlanTerms,
        done: Sequence[UUID],
        facts: Sequence[UUID] = (),
        move: MoveNote | None = None,
        usage: Usage | None = None,
    ) -> bool:
        parent = self._fenced(lease.id, lease.token)
        if parent is None:
            return False
        parent.place, parent.held_as, parent.decision, parent.plan = "held", Status.WAITING, decision, json.loads(plan)
        parent.events.append("waiting")
        of_parent = {
            "queue": lease.queue,
            "domain": lease.domain,
            "priority": lease.priority,
            "max_attempts": lease.max_attempts,
        }
        for step in steps:
            task = Task(TaskSpec(step.type, step.params, id=step.id, **of_parent))
            task.parent_id, task.step, task.bindings, task.needs = lease.id, step.name, step.bindings, set(step.needs)
            self.tasks[step.id] = task
            if task.needs:
                task.place = "held"
            else:
                self._enter(task)
        self._settle(parent)
        return True

    async def listen(self, events: LeaseEvents) -> None:
        cut_off = asyncio.Event()
        self._listeners.append(events)
        self._connections.add(cut_off)
        try:
            await events.listening()
            await cut_off.wait()
        finally:
            self._listeners.remove(events)
            self._connections.discard(cut_off)

    async def wait_in_lane(self, lane: str, *, waits: bool) -> bool:
        return bool(self._listeners)

    # Moves between places.

    def _take_back(self, last: LastSession) -> None:
        for task in self._leased_by(last.session):
            if (task.new.id, task.token) not in last.begun and task.uncounted < MAX_UNCOUNTED:
                task.uncounted += 1
                self._note_failure(task, "lease_expired", "")
                task.attempts -= 1
                self._enter(task)
            elif task.attempts >= task.new.max_attempts:
                self._end(task, Status.FAILED, error=("lease_expired", "the worker was lost on the last attempt"))
            else:
                self._note_failure(task, "lease_expired", "")
                pause_s = jittered_s(last.pause_s(task.new.type, task.attempts))
                self._enter(task, now() + timedelta(seconds=pause_s))

    def _enter(self, task: Task, run_at: datetime | None = None) -> None:
        if run_at is not None and run_at > now():
            task.place, task.run_at = "deferred", run_at
            delay_s = (run_at - now()).total_seconds()
            asyncio.get_running_loop().call_later(delay_s + 0.001, self._promote)
            return
        task.place, task.seq = "ready", next(self._seqs)
        for listener in list(self._listeners):
            listener.ready(lane_name(task.new.queue, task.lane_slow), 0)

    def _promote(self) -> None:
        for task in self.tasks.values():
            if task.place == "deferred" and task.run_at is not None and task.run_at <= now():
                self._enter(task)

    def _lease(self, task: Task, session: UUID) -> Lease:
        task.place, task.token, task.owner, task.leased_at = "leased", next(self._tokens), session, now()
        task.attempts += 1
        task.events.append("leased")
        new = task.new
        return Lease(
            id=new.id,
            token=task.token,
            attempt=task.attempts,
            type=new.type,
            params=new.params,
            bindings=task.bindings,
            queue=new.queue,
            slow=new.slow,
            domain=new.domain,
            priority=new.priority,
            max_attempts=new.max_attempts,
            timeout_s=new.timeout_s,
            limit_key=None,
            idempotency_key=new.idempotency_key,
            parent_id=task.parent_id,
            approved=task.approved,
            created_at=task.created_at,
            seq=task.seq,
            tenant=new.tenant,
            traceparent=new.traceparent,
            run_after=new.run_after,
            left_s=None if new.deadline is None else (new.deadline - now()).total_seconds(),
        )

    def _fenced(self, task_id: UUID, token: int) -> Task | None:
        task = self.tasks.get(task_id)
        return task if task is not None and task.place == "leased" and task.token == token else None

    def _unlease(self, task: Task) -> None:
        task.attempts -= 1
        task.events.remove("leased")

    def _leased_by(self, session: UUID) -> list[Any]:
        return [t for t in self.tasks.values() if t.place == "leased" and t.owner == session]

    def _note_failure(self, task: Task, code: str, message: str) -> None:
        task.errors.append({"attempt": task.attempts, "code": code, "message": message})
        task.events.append("retried")

    def _end(self, task: Task, status: Status, result: str | None = None, error: tuple[str, str] | None = None) -> None:
        task.place, task.status, task.result, task.finished_at = "ended", status, result, now()
        if error is not None:
            task.errors.append({"attempt": task.attempts, "code": error[0], "message": error[1]})
        task.events.append(str(status))
        if task.parent_id is not None:
            self._settle(self.tasks[task.parent_id])

    def _children(self, parent: Task) -> list[Task]:
        return [task for task in self.tasks.values() if task.parent_id == parent.new.id]

    def _settle(self, parent: Task) -> None:
        """What follows for a plan from the ends of its steps."""
        if parent.place == "ended":
            return
        steps = self._children(parent)
        for step in steps:
            if step.place == "ended" and step.status is not Status.COMPLETED:
                message = f"the step {step.step} failed: {step.errors[-1]['message']}"
                self._end(parent, Status.FAILED, error=("step_failed", message))
                for other in steps:
                    self.cancel(other.new.id)
                return
        completed = {step.new.id for step in steps if step.place == "ended"}
        for step in steps:
            if step.place == "held" and step.needs <= completed:
                self._enter(step)
        if len(completed) == len(steps):
            assert parent.plan is not None
            results = {step.step: json.loads(step.result or "{}") for step in steps}
            output = {name: results[v["$from"]].get(v["field"]) for name, v in parent.plan["output"].items()}
            self._end(parent, Status.COMPLETED, json.dumps(output))

    def _bound(self, lease: Lease) -> tuple[str, str | None]:
        params, missing = json.loads(lease.params), []
        for name, source in json.loads(lease.bindings or "{}").items():
            result = json.loads(self.tasks[UUID(source["task"])].result or "{}")
            if source["field"] in result:
                params[name] = result[source["field"]]
            else:
                missing.append(repr(source["field"]))
        return json.dumps(params), ", ".join(missing) or None


def _check(*texts: str | None) -> None:
    """PostgreSQL refuses such text."""
    for text in texts:
        if text is not None and ("\0" in text or "\\u0000" in text or not _is_unicode(text)):
            raise asyncpg.DataError("unsupported text")


def _check_json(text: str | None) -> None:
    try:
        json.loads(text or "null")
    except ValueError:
        raise asyncpg.DataError("invalid input syntax for type json") from None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
