"""The route of a task's events: follows the task to its end, and resumes after Last-Event-ID."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response

from seedcore.api.gateway import GatewayDep
from seedcore.api.sse_resume import LastTaskEventId, resume_task
from seedcore.tasks.task_json import event_json
from seedcore.web.access.caller import CallerDep
from seedcore.web.sse import EventStream, stream_responses

router = APIRouter(prefix="/api/v1", tags=["tasks"])

RESPONSES: dict[int | str, dict[str, Any]] = {
    **stream_responses(),
    204: {"description": "The task has ended, and its last event was sent"},
}


@router.get("/tasks/{task_id}/events", responses=RESPONSES)
async def follow_task(
    task_id: UUID,
    gateway: GatewayDep,
    caller: CallerDep,
    last_event_id: LastTaskEventId = 0,
) -> Response:
    """A task's events as they happen, from the one after Last-Event-ID to its last one; 204 when it has passed."""
    if not await resume_task(gateway.database, task_id, last_event_id, caller.tenant):
        # An EventSource that has seen the end reconnects; 204 makes it stop.
        return Response(status_code=204)

    async def stream() -> AsyncIterator[Mapping[str, object]]:
        async with contextlib.aclosing(gateway.feed.follow(task_id, last_event_id)) as events:
            async for event in events:
                yield event_json(event, caller.payloads)

    return EventStream(stream())
