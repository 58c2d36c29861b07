"""The routes of /api/v1/dead: tasks that failed for good, and how they run again."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from seedcore.api.gateway import GatewayDep
from seedcore.api.raw_json import JSON_OBJECT, json_answer
from seedcore.schemas.api import DeadQuery, RequeueIn, parse_uuid
from seedcore.tasks import dead_letters
from seedcore.tasks.task_json import page_json
from seedcore.web.access.caller import CallerDep
from seedcore.web.access.request_origin import seen_tenant

router = APIRouter(prefix="/api/v1/dead", tags=["dead letters"])


@router.get("", response_model=JSON_OBJECT)
async def list_dead(query: Annotated[DeadQuery, Query()], gateway: GatewayDep, caller: CallerDep) -> Response:
    """Tasks that failed for good, each with the errors of all its attempts (`errors`), the newest first."""
    async with gateway.database.connection() as connection:
        records = await dead_letters.find(
            connection,
            task_type=query.type,
            code=query.code,
            tenant=seen_tenant(caller, query.tenant),
            before=parse_uuid(query.cursor, "cursor"),
            limit=query.limit + 1,
        )
    return json_answer(page_json(records, query.limit, caller.payloads))


@router.get("/counts")
async def count_dead(gateway: GatewayDep, caller: CallerDep) -> dict[str, object]:
    """How many by type and error code, among the newest 10,000."""
    async with gateway.database.connection() as connection:
        return {"items": await dead_letters.counts(connection, caller.tenant)}


@router.post("/requeue", status_code=202)
async def requeue_dead(body: RequeueIn, gateway: GatewayDep, caller: CallerDep) -> dict[str, object]:
    """Run dead letters again: those named, or the newest of a type or an error code."""
    async with gateway.database.connection() as connection:
        ids = await dead_letters.requeue(
            connection,
            ids=body.ids,
            task_type=body.type,
            code=body.code,
            tenant=seen_tenant(caller, body.tenant),
            limit=body.limit,
        )
    return {"ids": [str(task_id) for task_id in ids]}
