"""Read tasks, plans, events and the state of queues."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

import asyncpg

from seedcore.errors import NotFoundError
from seedcore.stores.postgres import loads
from seedcore.stores.resume_point import position_ahead
from seedcore.tasks.model import DEFAULT_TENANT, Status, TaskEvent, TaskSpec
from seedcore.tasks.sql import events, plans, reads
from seedcore.tasks.submission.tenancy import unscoped


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task as people see it. JSON values are kept as PostgreSQL's text: it holds what Python cannot read.

    The properties read them, and raise ValueError or RecursionError where Python cannot. `usage` is what all attempts
    said that they spent: `tokens` and `money`; None when none said anything.
    """

    id: UUID
    type: str
    params_text: str
    status: Status
    domain: str | None
    priority: int
    queue: str
    idempotency_key: str | None
    attempts: int
    max_attempts: int
    timeout_s: float | None
    run_after: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result_text: str | None
    error: dict[str, str | None] | None
    decision_text: str | None
    parent_id: UUID | None
    step: str | None
    deadline: datetime | None
    limit_key: str | None
    errors_text: str
    tenant: str
    traceparent: str | None
    limits: tuple[Mapping[str, object], ...]
    usage: Mapping[str, float] | None = None

    @property
    def params(self) -> Any:
        """What the skill is given."""
        return json.loads(self.params_text)

    @property
    def result(self) -> Any:
        """What the skill gave; None before that."""
        return loads(self.result_text)

    @property
    def decision(self) -> dict[str, Any] | None:
        """What was decided about it, and why."""
        return None if self.decision_text is None else dict(json.loads(self.decision_text))

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Of a failed task's attempts."""
        return list(json.loads(self.errors_text))


def _record(row: asyncpg.Record) -> TaskRecord:
    values = dict(row)
    code, message = values.pop("error_code"), values.pop("error_message")
    values["error"] = None if code is None else {"code": code, "message": message}
    values["status"] = Status(values["status"])
    texts = {f"{name}_text": values.pop(name) for name in ("params", "result", "decision")}
    texts["errors_text"] = values.pop("errors") or "[]"
    if values["limit_key"] is not None:
        values["limit_key"] = unscoped(values["limit_key"])
    limits = json.loads(values["limits"] or "[]")
    values["limits"] = tuple({"key": unscoped(limit["key"]), "cost": limit["cost"]} for limit in limits)
    values["usage"] = loads(values["usage"])
    return TaskRecord(**values, **texts)


async def get(connection: asyncpg.Connection, task_id: UUID, tenant: str | None = None) -> TaskRecord:
    """One task.

    Args:
        connection: where.
        task_id: which.
        tenant: whose it must be; None: anybody's.

    Raises:
        NotFoundError: there is no such task (or its retention has passed), or it belongs to another tenant.
    """
    row = await connection.fetchrow(reads.GET, task_id)
    if row is None or tenant not in (None, row["tenant"]):
        raise _no_task(task_id)
    return _record(row)


async def check_owner(connection: asyncpg.Connection, task_id: UUID, tenant: str | None) -> None:
    """Check that a task belongs to `tenant`; None: to anybody, and nothing is looked up.

    Raises:
        NotFoundError: it does not, or there is no such task.
    """
    if tenant is not None and await connection.fetchval(reads.TENANT, task_id) != tenant:
        raise _no_task(task_id)


def _no_task(task_id: UUID) -> NotFoundError:
    return NotFoundError(f"There is no task {task_id}.")


def just_submitted(task: TaskSpec, created_at: datetime) -> TaskRecord:
    """A task as it is right after its submission, without asking for it."""
    return TaskRecord(
        id=task.id,
        type=task.type,
        params_text=task.params,
        status=Status.QUEUED,
        domain=task.domain,
        priority=task.priority,
        queue=task.queue,
        idempotency_key=task.idempotency_key,
        attempts=0,
        max_attempts=task.max_attempts,
        timeout_s=task.timeout_s,
        run_after=task.run_after,
        created_at=created_at,
        started_at=None,
        finished_at=None,
        result_text=None,
        error=None,
        decision_text=None,
        parent_id=None,
        step=None,
        deadline=task.deadline,
        limit_key=None if task.limit is None else task.limit.key,
        errors_text="[]",
        tenant=task.tenant,
        traceparent=task.traceparent,
        limits=tuple({"key": limit.key, "cost": limit.cost} for limit in task.limits),
    )


async def get_many(connection: asyncpg.Connection, task_ids: Sequence[UUID]) -> list[TaskRecord]:
    """Tasks by id, in that order; those that are not there are left out."""
    rows = {row["id"]: row for row in await connection.fetch(reads.GET_MANY, list(task_ids))}
    return [_record(rows[i]) for i in task_ids if i in rows]


async def find(
    connection: asyncpg.Connection,
    *,
    status: Status | None = None,
    task_type: str | None = None,
    queue: str | None = None,
    domain: str | None = None,
    parent_id: UUID | None = None,
    tenant: str | None = None,
    before: UUID | None = None,
    limit: int = 50,
) -> list[TaskRecord]:
    """Tasks, the newest first, those older than `before` (the last id of the page before)."""
    clauses: list[str] = []
    values: list[object] = []
    filters = {"type": task_type, "queue": queue, "domain": domain, "parent_id": parent_id, "tenant": tenant}
    for column, value in filters.items():
        if value is not None:
            values.append(value)
            clauses.append(f"{column} = ${len(values)}")
    if tenant not in (None, DEFAULT_TENANT):
        clauses.append(reads.OF_OTHERS)
    if before is not None:
        values.append(before)
        clauses.append(f"id < ${len(values)}")
    if status is not None:
        clauses.append(f"id in {reads.IDS_OF_STATUS[status]}")
    values.append(limit)
    where = f"where {' and '.join(clauses)}" if clauses else ""
    return [_record(row) for row in await connection.fetch(reads.find(where, len(values)), *values)]


async def children(connection: asyncpg.Connection, parent_id: UUID) -> list[TaskRecord]:
    """The steps of a plan, in the order they were planned."""
    return [_record(row) for row in await connection.fetch(reads.CHILDREN, parent_id)]


async def plan_of(connection: asyncpg.Connection, task_id: UUID) -> dict[str, object] | None:
    """The terms of a task's plan and what it spent: `{policy, budget, spent, replans, without, recipe, until}`.

    None when the task was not planned. `spent` has the names of `budget`; what cancelled attempts spent is not known.
    """
    row = await connection.fetchrow(plans.PLAN_OF, task_id)
    if row is None:
        return None
    return {
        "policy": json.loads(row["policy"]),
        "budget": json.loads(row["budget"]),
        "spent": {name: row[name] for name in ("steps", "time_s", "tokens", "money")},
        "replans": row["replans"],
        "without": list(row["without"]),
        "recipe": row["recipe"],
        "until": None if row["until"] is None else row["until"].isoformat(),
    }


async def events_of(connection: asyncpg.Connection, task_id: UUID, after: int = 0) -> list[TaskEvent]:
    """A task's events after the event id `after`."""
    return await events_of_many(connection, [(task_id, after)])


async def check_reached(connection: asyncpg.Connection, event_id: int) -> None:
    """Check that an event of that id can have happened here.

    Raises:
        EventIdAheadError: ids have not come so far; a reader would wait in vain for what follows it.
    """
    if event_id > 0 and event_id > await connection.fetchval(events.LAST_EVENT_ID):
        raise position_ahead()


async def events_of_many(connection: asyncpg.Connection, followed: Sequence[tuple[UUID, int]]) -> list[TaskEvent]:
    """New events of many tasks at once; items are (task id, last event id seen)."""
    rows = await connection.fetch(events.EVENTS, [t for t, _ in followed], [a for _, a in followed])
    return [TaskEvent(row["id"], row["task_id"], row["event"], row["at"], json.loads(row["data"])) for row in rows]


async def ended(connection: asyncpg.Connection, task_ids: Sequence[UUID]) -> set[UUID]:
    """Which of these tasks have ended."""
    return {row["id"] for row in await connection.fetch(reads.ENDED, list(task_ids))}


async def unfinished(connection: asyncpg.Connection, task_ids: Sequence[UUID]) -> set[UUID]:
    """Which of these tasks are there and have not ended."""
    return {row["id"] for row in await connection.fetch(reads.UNFINISHED, list(task_ids))}


class QueueDepth(TypedDict):
    """Tasks of a queue that wait; `oldest_ready_s` is the age of the oldest that could be claimed."""

    ready: int
    deferred: int
    gated: int
    oldest_ready_s: float | None


class QueueState(TypedDict):
    """What waits in the queues and runs; `dispatchers` have `name, queue, holding, up_s, last_claim_s`."""

    queues: dict[str, QueueDepth]
    running: int
    waiting: int
    approval: int
    dead: int
    paused: list[str]
    dispatchers: list[dict[str, object]]


async def queue_state(connection: asyncpg.Connection, tenant: str | None = None) -> QueueState:
    """Depths by queue (counted up to 10,000 each), totals, and the living dispatchers with their progress.

    Of a tenant: its own tasks alone, and of dispatchers and paused queues what concerns its queues, without names.
    """
    of_tenant = () if tenant is None else (tenant,)
    depths = await connection.fetch(reads.QUEUE_DEPTHS if tenant is None else reads.TENANT_DEPTHS, *of_tenant)
    totals = await connection.fetchrow(reads.QUEUE_TOTALS if tenant is None else reads.TENANT_TOTALS, *of_tenant)
    dispatchers = [dict(row) for row in await connection.fetch(reads.SESSIONS)]
    paused = [row["queue"] for row in await connection.fetch(reads.PAUSED)]
    if tenant is not None:
        own = {row["queue"] for row in depths}
        paused = [queue for queue in paused if queue in own]
        shown = ("queue", "last_claim_s")
        dispatchers = [{name: row[name] for name in shown} for row in dispatchers if row["queue"] in own]
    return {
        "queues": {
            row["queue"]: {
                "ready": int(row["ready"]),
                "deferred": int(row["deferred"]),
                "gated": int(row["gated"]),
                "oldest_ready_s": row["oldest_s"],
            }
            for row in depths
        },
        "running": int(totals["running"]),
        "waiting": int(totals["waiting"]),
        "approval": int(totals["approval"]),
        "dead": int(totals["dead"]),
        "paused": paused,
        "dispatchers": dispatchers,
    }
