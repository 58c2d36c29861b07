"""The routes of /api/v1 beside single tasks: the log of everything, dead letters, limits."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Response

from seedcore.api.gateway import TheGateway
from seedcore.api.raw_json import JSON_OBJECT, json_answer
from seedcore.schemas.api import DeadQuery, LimitBody, RequeueIn, parse_uuid
from seedcore.tasks import dead_letters, limits
from seedcore.tasks.events.event_log import START, Position, check_reached
from seedcore.tasks.submission.task_options import LIMIT_KEY
from seedcore.tasks.task_json import entry_json, page_json
from seedcore.web.app_factory import EventStream

router = APIRouter(prefix="/api/v1")

LOG_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "Server-sent events", "content": {"text/event-stream": {}}}
}
Key = Annotated[str, Path(), LIMIT_KEY.field]


@router.get("/events", tags=["events"], responses=LOG_STREAM)
async def follow_everything(
    gateway: TheGateway,
    last_event_id: Annotated[str | None, Header(max_length=20_000)] = None,
    begin: Annotated[Literal["now", "start"], Query(description="without Last-Event-ID: where to begin")] = "now",
    event: Annotated[list[str] | None, Query(max_length=20, description="only these events")] = None,
) -> Response:
    """Everything that happens to tasks, one event a batch (`data.task_ids`), from the one after Last-Event-ID on.

    A short task's `leased` and `started` stand in its own stream only.
    """
    after = None if begin == "now" else START
    if last_event_id:
        after = Position.parse(last_event_id)
        async with gateway.database.connection() as connection:
            await check_reached(connection, after)
    wanted = frozenset(event) if event else None

    async def stream() -> AsyncIterator[dict[str, Any]]:
        async with contextlib.aclosing(gateway.feed.follow_all(after)) as entries:
            async for entry in entries:
                if wanted is None or entry.event in wanted:
                    yield entry_json(entry)

    return EventStream(stream())


@router.get("/dead", tags=["dead letters"], response_model=JSON_OBJECT)
async def list_dead(query: Annotated[DeadQuery, Query()], gateway: TheGateway) -> Response:
    """Tasks that failed for good, each with the errors of all its attempts (`errors`), the newest first."""
    async with gateway.database.connection() as connection:
        records = await dead_letters.find(
            connection,
            task_type=query.type,
            code=query.code,
            before=parse_uuid(query.cursor, "cursor"),
            limit=query.limit + 1,
        )
    return json_answer(page_json(records, query.limit))


@router.get("/dead/counts", tags=["dead letters"])
async def count_dead(gateway: TheGateway) -> dict[str, Any]:
    """How many by type and error code, among the newest 10,000."""
    async with gateway.database.connection() as connection:
        return {"items": await dead_letters.counts(connection)}


@router.post("/dead/requeue", status_code=202, tags=["dead letters"])
async def requeue_dead(body: RequeueIn, gateway: TheGateway) -> dict[str, Any]:
    """Let dead letters run again: those named, or the newest of a type or an error code."""
    async with gateway.database.connection() as connection:
        ids = await dead_letters.requeue(
            connection, ids=body.ids, task_type=body.type, code=body.code, limit=body.limit
        )
    return {"ids": [str(task_id) for task_id in ids]}


@router.get("/limits", tags=["limits"])
async def list_limits(
    gateway: TheGateway,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> dict[str, Any]:
    """What keys allow, and how many of their tasks run and wait."""
    async with gateway.database.connection() as connection:
        found = await limits.find(connection, cursor, limit + 1)
    page = found[:limit]
    return {"items": [asdict(item) for item in page], "next_cursor": page[-1].key if len(found) > limit else None}


@router.get("/limits/{key:path}", tags=["limits"])
async def get_limit(key: Key, gateway: TheGateway) -> dict[str, Any]:
    """One key's limit."""
    async with gateway.database.connection() as connection:
        return asdict(await limits.get(connection, key))


@router.put("/limits/{key:path}", tags=["limits"])
async def put_limit(key: Key, body: LimitBody, gateway: TheGateway) -> dict[str, Any]:
    """Define a key's limit, whole; tasks that may go now go."""
    async with gateway.database.connection() as connection:
        return asdict(await limits.put(connection, key, body.max_running, body.rate_per_s, body.burst))


@router.delete("/limits/{key:path}", status_code=204, tags=["limits"])
async def delete_limit(key: Key, gateway: TheGateway) -> None:
    """Forget a limit that no task waits for; 409 while some do."""
    async with gateway.database.connection() as connection:
        await limits.remove(connection, key)
