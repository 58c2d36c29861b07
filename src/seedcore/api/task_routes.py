"""The routes of /api/v1/tasks, /queue and /skills."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response

from seedcore.api.gateway import GatewayDep
from seedcore.api.headers import IdempotencyKey
from seedcore.api.knowledge.fact_routes import fact_out
from seedcore.api.raw_json import JSON_OBJECT, json_answer
from seedcore.errors import InvalidInputError
from seedcore.memory.facts.fact_store import facts_of_plan
from seedcore.schemas.api import BatchIn, BatchOut, RejectIn, TaskQuery, parse_uuid
from seedcore.tasks import commands, queries
from seedcore.tasks.model import Status
from seedcore.tasks.submission.task_request import QUEUE_NAME
from seedcore.tasks.task_json import page_json, plan_json, task_json
from seedcore.web.access.caller import CallerDep, approver_name
from seedcore.web.access.request_origin import OriginDep, seen_tenant

router = APIRouter(prefix="/api/v1")
QueueName = Annotated[str, Path(pattern=QUEUE_NAME)]


@router.post("/tasks", status_code=201, tags=["tasks"], response_model=JSON_OBJECT)
async def submit_task(
    body: dict[str, object],
    gateway: GatewayDep,
    caller: CallerDep,
    origin: OriginDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Submit a task: 201 and the task; with a key that was used before 200 and the first task."""
    if idempotency_key is not None:
        if body.get("idempotency_key", idempotency_key) != idempotency_key:
            message = "differs from the header Idempotency-Key"
            raise InvalidInputError.for_field("idempotency_key", message)
        body = {**body, "idempotency_key": idempotency_key}
    async with gateway.database.connection() as connection:
        task, submitted = await gateway.submission.one(connection, body, origin)
        location = f"/api/v1/tasks/{submitted.id}"
        if submitted.created_at is not None:
            record = queries.just_submitted(task, submitted.created_at)
            return json_answer(task_json(record, caller.payloads), 201, Location=location)
        record = await queries.get(connection, submitted.id)
        return json_answer(task_json(record, caller.payloads), Location=location)


@router.post("/tasks/batch", status_code=201, tags=["tasks"])
async def submit_batch(body: BatchIn, gateway: GatewayDep, origin: OriginDep) -> BatchOut:
    """Submit many tasks, all or none; the ids come back in the same order."""
    async with gateway.database.connection() as connection:
        submitted = await gateway.submission.many(connection, body.tasks, origin)
    return BatchOut(ids=[str(item.id) for item in submitted])


@router.get("/tasks", tags=["tasks"], response_model=JSON_OBJECT)
async def list_tasks(query: Annotated[TaskQuery, Query()], gateway: GatewayDep, caller: CallerDep) -> Response:
    """Tasks, the newest first; `next_cursor` is null on the last page."""
    async with gateway.database.connection() as connection:
        records = await queries.find(
            connection,
            status=_status(query.status),
            task_type=query.type,
            queue=query.queue,
            domain=query.domain,
            parent_id=parse_uuid(query.parent_id, "parent_id"),
            tenant=seen_tenant(caller, query.tenant),
            before=parse_uuid(query.cursor, "cursor"),
            limit=query.limit + 1,
        )
    return json_answer(page_json(records, query.limit, caller.payloads))


@router.get("/tasks/{task_id}", tags=["tasks"], response_model=JSON_OBJECT)
async def get_task(task_id: UUID, gateway: GatewayDep, caller: CallerDep) -> Response:
    """One task."""
    async with gateway.feed.lookups.connection() as connection:
        return json_answer(task_json(await queries.get(connection, task_id, caller.tenant), caller.payloads))


@router.get("/tasks/{task_id}/plan", tags=["tasks"], response_model=JSON_OBJECT)
async def get_plan(task_id: UUID, gateway: GatewayDep, caller: CallerDep) -> Response:
    """The steps that a task was planned into, each a task, its budget, what it spent, and the facts it relied on.

    No steps without a plan.
    """
    async with gateway.database.connection() as connection:
        await queries.get(connection, task_id, caller.tenant)
        steps = await queries.children(connection, task_id)
        terms = await queries.plan_of(connection, task_id)
        if terms is not None:
            facts = await facts_of_plan(connection, task_id)
            terms["facts"] = [fact_out(fact, caller).model_dump(mode="json", exclude_unset=True) for fact in facts]
    return json_answer(plan_json(task_id, steps, terms, caller.payloads))


@router.post("/tasks/{task_id}/cancel", status_code=202, tags=["tasks"], response_model=JSON_OBJECT)
async def cancel_task(task_id: UUID, gateway: GatewayDep, caller: CallerDep) -> Response:
    """Cancel a task; 409 when it has ended."""
    async with gateway.database.connection() as connection:
        record = await commands.cancel(connection, task_id, caller.tenant)
    return json_answer(task_json(record, caller.payloads), 202)


@router.post("/tasks/{task_id}/retry", status_code=202, tags=["tasks"], response_model=JSON_OBJECT)
async def retry_task(task_id: UUID, gateway: GatewayDep, caller: CallerDep) -> Response:
    """Run a failed or cancelled task again."""
    async with gateway.database.connection() as connection:
        record = await commands.retry(connection, task_id, caller.tenant)
    return json_answer(task_json(record, caller.payloads), 202)


@router.post("/tasks/{task_id}/approve", status_code=202, tags=["tasks"], response_model=JSON_OBJECT)
async def approve_task(task_id: UUID, gateway: GatewayDep, caller: CallerDep) -> Response:
    """Release a task that waits for a person; 403 when there are approvers, and the key is none of theirs."""
    by = approver_name(caller, bool(gateway.approvers))
    async with gateway.database.connection() as connection:
        record = await commands.approve(connection, task_id, by, caller.tenant)
    return json_answer(task_json(record, caller.payloads), 202)


@router.post("/tasks/{task_id}/reject", status_code=202, tags=["tasks"], response_model=JSON_OBJECT)
async def reject_task(task_id: UUID, gateway: GatewayDep, caller: CallerDep, body: RejectIn | None = None) -> Response:
    """Refuse a task that waits for a person; 403 when there are approvers, and the key is none of theirs."""
    by = approver_name(caller, bool(gateway.approvers))
    async with gateway.database.connection() as connection:
        record = await commands.reject(connection, task_id, (body or RejectIn()).reason, by, caller.tenant)
    return json_answer(task_json(record, caller.payloads), 202)


@router.get("/queue", tags=["queue"])
async def queue_state(gateway: GatewayDep, caller: CallerDep) -> dict[str, object]:
    """How many tasks wait, for how long, and whether dispatchers make progress; of a tenant: its own."""
    async with gateway.database.connection() as connection:
        return dict(await queries.queue_state(connection, caller.tenant))


@router.post("/queue/{queue}/pause", tags=["queue"])
async def pause_queue(queue: QueueName, gateway: GatewayDep) -> dict[str, object]:
    """Stop claiming from a queue; running tasks continue, and tasks can still be submitted."""
    async with gateway.database.connection() as connection:
        await commands.pause(connection, queue)
    return {"queue": queue, "paused": True}


@router.post("/queue/{queue}/resume", tags=["queue"])
async def resume_queue(queue: QueueName, gateway: GatewayDep) -> dict[str, object]:
    """Claim from a queue again."""
    async with gateway.database.connection() as connection:
        at = await commands.resume(connection, queue)
    return {"queue": queue, "paused": False, "at": at.isoformat()}


@router.get("/skills", tags=["skills"])
async def list_skills(gateway: GatewayDep) -> dict[str, object]:
    """Every skill, with the JSON schemas of its params and its result."""
    return {"items": gateway.skill_list}


def _status(value: str | None) -> Status | None:
    try:
        return None if value is None else Status(value)
    except ValueError:
        message = f"one of {', '.join(Status)}"
        raise InvalidInputError.for_field("status", message) from None
