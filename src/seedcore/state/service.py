"""The State service's Serve deployment."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, Response
from ray import serve

from seedcore.schemas.state import History, HistoryRequest, StateRequest, StreamRequest, UnifiedState
from seedcore.state.cached_read import Part
from seedcore.state.samples import Sampler, history
from seedcore.state.sources import Sources
from seedcore.state.state_stream import Pulse
from seedcore.state.unified_state import Unified
from seedcore.stores.pg_snapshot import Snapshot
from seedcore.web.service_base import Operation, ServiceBase
from seedcore.web.sse import EventStream, LastEventId, stream_responses

_STREAM = stream_responses("Server-sent events: `snapshot`, then `delta`s")


class StateService(ServiceBase):
    """Sees everything: agents, organs, the queue, memory. The database is its source, so replicas agree."""

    name = "state"

    async def start(self) -> None:
        """Connect lazily; from here on what changes is read, and the past is sampled."""
        self._sources = Sources(self.settings, _read_cluster)
        self._unified = Unified(self._sources)
        self._pulse = Pulse(self._sources)
        self._sampler = Sampler(self.settings, self._sources)
        self._loops = [
            asyncio.create_task(self._pulse.run(), name="state-pulse"),
            asyncio.create_task(self._sampler.run(), name="state-sampler"),
        ]

    async def stop(self) -> None:
        """Close connections."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self._sources.aclose()

    def operations(self) -> Sequence[Operation]:
        """What State does."""
        return [
            Operation(
                "POST",
                "/unified-state",
                self.unified_state,
                StateRequest,
                summary="Everything at once",
                returns=UnifiedState,
            ),
            Operation("GET", "/history", self.history, HistoryRequest, summary="The past, by columns"),
        ]

    def extend(self, app: FastAPI) -> None:
        """What needs more of HTTP than a body: the state with its tag, and the stream."""

        @app.get("/unified-state", responses={200: {"model": UnifiedState}, 304: {"description": "As you know it"}})
        async def get_unified_state(
            request: Annotated[StateRequest, Query()], if_none_match: Annotated[str | None, Header()] = None
        ) -> Response:
            """Everything at once. The tag tells contents apart, not ages: 304 when nothing but ages has changed."""
            answer = await self._unified.collect(request)
            tag = f'W/"{answer.tag}"'
            headers = {"ETag": tag, "Cache-Control": "no-cache"}
            if if_none_match is not None and _matches(if_none_match, answer.tag):
                return Response(status_code=304, headers=headers)
            return Response(answer.encode(), headers=headers, media_type="application/json")

        @app.get("/stream", responses=_STREAM)
        async def stream(
            request: Annotated[StreamRequest, Query()],
            last_event_id: LastEventId = None,
        ) -> Response:
            """What changes, as it changes, after a snapshot; with Last-Event-ID without one, where that is known."""
            since = Snapshot.parse(last_event_id) if last_event_id else None
            return EventStream(await self._pulse.open(request, since))

    async def unified_state(self, request: StateRequest) -> bytes:
        """The parts that were asked for, read now."""
        return (await self._unified.collect(request)).encode()

    async def history(self, request: HistoryRequest) -> History:
        """Samples of the past: of the whole system, or of one organ."""
        return await history(self._sources.database, self.settings, request)

    async def health(self) -> Mapping[str, Any]:
        """Ready when the database answers."""
        sources = self._sources
        database = await sources.database.ready()
        read: dict[str, Part[Any]] = {"agents": sources.agents, "system": sources.system, "memory": sources.memory}
        return {
            "ready": database["ready"],
            "postgres": database,
            "agents": len(sources.view.columns),
            "followers": self._pulse.followers,
            "samples": self._sampler.counts,
            "failed_reads": {name: part.failures for name, part in read.items()},
        }


def _matches(header: str, tag: str) -> bool:
    """Whether If-None-Match names the tag (weakly, RFC 9110 §13.1.2)."""
    given = {text.strip().removeprefix("W/").strip('"') for text in header.split(",")}
    return "*" in given or tag in given


async def _read_cluster() -> dict[str, Any]:
    """Living nodes and what they have; nothing when this process is not connected to Ray."""
    import ray

    if not ray.is_initialized():
        return {}
    nodes = [node for node in await asyncio.to_thread(ray.nodes) if node["Alive"]]
    totals = {key: sum(node["Resources"].get(name, 0.0) for node in nodes) for key, name in _RESOURCES.items()}
    return {"nodes": len(nodes), **totals}


_RESOURCES = {"cpus": "CPU", "gpus": "GPU"}

StateDeployment = serve.deployment(name="StateService")(serve.ingress()(StateService))
