"""The route of /api/v1/events: everything that happens to tasks, as one stream that resumes at Last-Event-ID."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from seedcore.api.gateway import GatewayDep
from seedcore.api.sse_resume import resume_log
from seedcore.tasks.events.event_log import START
from seedcore.tasks.task_json import entry_json
from seedcore.web.access.caller import CallerDep
from seedcore.web.sse import EventStream, LastEventId, stream_responses

router = APIRouter(prefix="/api/v1", tags=["events"])


@router.get("/events", responses=stream_responses())
async def follow_everything(
    gateway: GatewayDep,
    caller: CallerDep,
    last_event_id: LastEventId = None,
    begin: Annotated[Literal["now", "start"], Query(description="without Last-Event-ID: where to begin")] = "now",
    event: Annotated[list[str] | None, Query(max_length=20, description="only these events")] = None,
) -> Response:
    """Everything that happens to tasks, one event a batch (`data.task_ids`), from the one after Last-Event-ID on.

    A tenant gets what happens to its own tasks. `leased` and `started` of a short task are in its own stream only.
    """
    after = await resume_log(gateway.database, last_event_id, None if begin == "now" else START)
    wanted = frozenset(event) if event else None

    async def stream() -> AsyncIterator[Mapping[str, object]]:
        async with contextlib.aclosing(gateway.feed.follow_all(after, caller.tenant)) as entries:
            async for entry in entries:
                if wanted is None or entry.event in wanted:
                    yield entry_json(entry, caller.payloads)

    return EventStream(stream())
