"""The State service's Serve deployment."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import FastAPI, Header, Query, Response
from ray import serve

from seedcore.schemas.state import HistoryRequest, StateHistory, StateRequest, StreamRequest, UnifiedState
from seedcore.state.cached_read import CachedRead
from seedcore.state.samples import Sampler, read_history
from seedcore.state.sources import ClusterTotals, StateSources
from seedcore.state.state_stream import StateStream
from seedcore.state.unified_state import StateCollector, failing
from seedcore.stores.postgres import Database
from seedcore.stores.resume_point import Snapshot
from seedcore.web.service_base import Operation, ServiceBase
from seedcore.web.sse import EventStream, LastEventId, stream_responses

_STREAM = stream_responses("Server-sent events: `snapshot`, then `delta`s")


class StateService(ServiceBase):
    """Shows everything: agents, organs, the queue, memory. The database is its source, so replicas agree."""

    name = "state"

    async def start(self) -> None:
        """Start reading what changes, and sampling it; connections are made when they are needed."""
        self._sources = StateSources(self.settings, _read_cluster)
        self._collector = StateCollector(self._sources)
        self._stream = StateStream(self._sources)
        self._sampler = Sampler(self.settings, self._sources)
        self._loops = [
            asyncio.create_task(self._stream.run(), name="state-stream"),
            asyncio.create_task(self._sampler.run(), name="state-sampler"),
        ]

    async def stop(self) -> None:
        """Close connections."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self._sources.aclose()

    def own_database(self) -> Database:
        """The pool that keys are looked up and metrics are written through."""
        return self._sources.database

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
            Operation("GET", "/history", self.history, HistoryRequest, summary="Samples of the past, in columns"),
        ]

    def extend(self, app: FastAPI) -> None:
        """The routes that need more of HTTP than a body: the state with its tag, and the stream."""

        @app.get("/unified-state", responses={200: {"model": UnifiedState}, 304: {"description": "Unchanged"}})
        async def get_unified_state(
            request: Annotated[StateRequest, Query()], if_none_match: Annotated[str | None, Header()] = None
        ) -> Response:
            """Everything at once. The ETag identifies the content without ages: 304 when only ages have changed."""
            answer = await self._collector.collect(request)
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
            """A snapshot, then changes as they happen; with a known Last-Event-ID only the changes since."""
            since = Snapshot.parse(last_event_id) if last_event_id else None
            return EventStream(await self._stream.open(request, since))

    async def unified_state(self, request: StateRequest) -> bytes:
        """The requested parts, read now."""
        return (await self._collector.collect(request)).encode()

    async def history(self, request: HistoryRequest) -> StateHistory:
        """Samples of the past: of the whole system, or of one organ."""
        return await read_history(self._sources.database, self.settings, request)

    async def health(self) -> Mapping[str, object]:
        """Ready when the database answers."""
        sources = self._sources
        database = await sources.database.ready()
        reads: dict[str, CachedRead[object]] = {
            "agents": sources.agents,
            "system": sources.system,
            "memory": sources.memory,
            "flashbulbs": sources.flashbulbs,
        }
        if sources.working_memory is not None:
            reads["working_memory"] = sources.working_memory
        return {
            "ready": database["ready"],
            "postgres": database,
            "agents": len(sources.view.columns),
            "followers": self._stream.followers,
            "samples": self._sampler.counts,
            "failed_reads": {name: read.failures for name, read in reads.items()},
            "failing": failing(reads),
        }


def _matches(header: str, tag: str) -> bool:
    """Whether If-None-Match names the tag (weakly, RFC 9110 §13.1.2)."""
    given = {text.strip().removeprefix("W/").strip('"') for text in header.split(",")}
    return "*" in given or tag in given


async def _read_cluster() -> ClusterTotals:
    """Living nodes and their resources; empty when this process is not connected to Ray."""
    import ray

    if not ray.is_initialized():
        return {}
    nodes = [node for node in await asyncio.to_thread(ray.nodes) if node["Alive"]]
    cpus, gpus = (sum(node["Resources"].get(name, 0.0) for node in nodes) for name in ("CPU", "GPU"))
    return ClusterTotals(nodes=len(nodes), cpus=cpus, gpus=gpus)


StateDeployment = serve.deployment(name="StateService")(serve.ingress()(StateService))
