"""The route of a task's events: follows the task to its end, and resumes after Last-Event-ID."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Response
from pydantic import BeforeValidator

from seedcore.api.gateway import GatewayDep
from seedcore.tasks import queries
from seedcore.tasks.task_json import event_json
from seedcore.web.sse import EventStream, stream_responses

router = APIRouter(prefix="/api/v1", tags=["tasks"])

RESPONSES: dict[int | str, dict[str, Any]] = {
    **stream_responses(),
    204: {"description": "The task has ended, and its last event was sent"},
}


def _event_id(value: str | int) -> int:
    """The number in Last-Event-ID; 0, before the first event, when the header is empty or missing."""
    if isinstance(value, int) or not value:
        return value or 0
    if len(value) < 20 and value.isascii() and value.isdecimal() and int(value) < 2**63:
        return int(value)
    raise ValueError("not the id of an event of a task; leave it out to begin with its first one")


LastTaskEventId = Annotated[int, BeforeValidator(_event_id), Header()]
"""The id of the last event of the task that the client has seen."""


@router.get("/tasks/{task_id}/events", responses=RESPONSES)
async def follow_task(
    task_id: UUID,
    gateway: GatewayDep,
    last_event_id: LastTaskEventId = 0,
) -> Response:
    """A task's events as they happen, from the one after Last-Event-ID to its last one; 204 when it has passed."""
    async with gateway.database.connection() as connection:
        record = await queries.get(connection, task_id)
        await queries.check_reached(connection, last_event_id)
        if record.status.ended and not await queries.events_of(connection, task_id, last_event_id):
            # An EventSource that has seen the end reconnects; 204 makes it stop.
            return Response(status_code=204)

    async def stream() -> AsyncIterator[Mapping[str, object]]:
        async with contextlib.aclosing(gateway.feed.follow(task_id, last_event_id)) as events:
            async for event in events:
                yield event_json(event)

    return EventStream(stream())
