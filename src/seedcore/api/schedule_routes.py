"""The routes of /api/v1/schedules."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from seedcore.api.gateway import GatewayDep
from seedcore.api.headers import IdempotencyKey
from seedcore.api.raw_json import JSON_OBJECT, json_answer
from seedcore.tasks import queries
from seedcore.tasks.schedules import repository
from seedcore.tasks.schedules.schedule import Schedule, ScheduleBody, ScheduleIn
from seedcore.tasks.submission.tenancy import scoped
from seedcore.tasks.task_json import task_json
from seedcore.web.access.caller import Caller, CallerDep
from seedcore.web.access.request_origin import OriginDep, TenantDep

router = APIRouter(prefix="/api/v1/schedules", tags=["schedules"])

NEXT_TICKS = 5
ScheduleId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


@router.post("", status_code=201)
async def create_schedule(
    body: ScheduleIn, response: Response, gateway: GatewayDep, caller: CallerDep, origin: OriginDep
) -> dict[str, object]:
    """Create a schedule; 409 when its id exists."""
    async with gateway.database.connection() as connection:
        made = await repository.create(connection, gateway.submission, body, origin)
    response.headers["Location"] = f"/api/v1/schedules/{made.name}"
    return _with_next_ticks(made, caller)


@router.get("")
async def list_schedules(
    gateway: GatewayDep,
    caller: CallerDep,
    tenant: TenantDep,
    cursor: Annotated[str | None, Query(max_length=100, pattern=r"^[^\x00]*$")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> dict[str, object]:
    """A tenant's schedules by id; `next_cursor` is null on the last page."""
    after = None if cursor is None else scoped(tenant, cursor)
    async with gateway.database.connection() as connection:
        found = await repository.find(connection, after, limit + 1, tenant)
    page = found[:limit]
    items = [item.json(caller.payloads) for item in page]
    return {"items": items, "next_cursor": page[-1].name if len(found) > limit else None}


@router.get("/{schedule_id}")
async def get_schedule(
    schedule_id: ScheduleId, gateway: GatewayDep, caller: CallerDep, tenant: TenantDep
) -> dict[str, object]:
    """One schedule, with its next five ticks (`next_ticks`)."""
    async with gateway.database.connection() as connection:
        return _with_next_ticks(await repository.get(connection, schedule_id, tenant), caller)


@router.put("/{schedule_id}")
async def put_schedule(
    schedule_id: ScheduleId,
    body: ScheduleBody,
    response: Response,
    gateway: GatewayDep,
    caller: CallerDep,
    origin: OriginDep,
) -> dict[str, object]:
    """Define a schedule, whole: 201 when it is new. It stays paused if it was."""
    async with gateway.database.connection() as connection:
        defined, new = await repository.put(connection, gateway.submission, schedule_id, body, origin)
    if new:
        response.status_code = 201
        response.headers["Location"] = f"/api/v1/schedules/{schedule_id}"
    return _with_next_ticks(defined, caller)


@router.delete("/{schedule_id}", status_code=204)
async def delete_schedule(schedule_id: ScheduleId, gateway: GatewayDep, tenant: TenantDep) -> None:
    """Delete a schedule; the tasks that it submitted stay."""
    async with gateway.database.connection() as connection:
        await repository.remove(connection, schedule_id, tenant)


@router.post("/{schedule_id}/pause")
async def pause_schedule(
    schedule_id: ScheduleId, gateway: GatewayDep, caller: CallerDep, tenant: TenantDep
) -> dict[str, object]:
    """Stop it from firing until it is resumed; the ticks until then are skipped."""
    async with gateway.database.connection() as connection:
        return _with_next_ticks(await repository.pause(connection, schedule_id, tenant), caller)


@router.post("/{schedule_id}/resume")
async def resume_schedule(
    schedule_id: ScheduleId, gateway: GatewayDep, caller: CallerDep, tenant: TenantDep
) -> dict[str, object]:
    """Continue with its next tick; 409 when it has ended."""
    async with gateway.database.connection() as connection:
        return _with_next_ticks(await repository.resume(connection, schedule_id, tenant), caller)


@router.post("/{schedule_id}/fire", status_code=201, response_model=JSON_OBJECT)
async def fire_schedule(
    schedule_id: ScheduleId,
    gateway: GatewayDep,
    caller: CallerDep,
    origin: OriginDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Submit its task now, once, in addition to its ticks: 201 and the task; with a used key 200 and the first task."""
    async with gateway.database.connection() as connection:
        submitted = await repository.fire_now(connection, schedule_id, idempotency_key, origin)
        record = await queries.get(connection, submitted.id)
    status = 201 if submitted.created else 200
    return json_answer(task_json(record, caller.payloads), status, Location=f"/api/v1/tasks/{submitted.id}")


def _with_next_ticks(schedule: Schedule, caller: Caller) -> dict[str, object]:
    ticks: list[datetime] = schedule.upcoming(NEXT_TICKS)
    return {**schedule.json(caller.payloads), "next_ticks": [tick.isoformat() for tick in ticks]}
