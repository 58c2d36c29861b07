"""Client of the Organism."""

from collections.abc import Mapping, Sequence
from typing import TypedDict, cast

from pydantic import JsonValue

from seedcore.decision.routing_table import RoutingTableAnswer
from seedcore.service_clients.service_client import ServiceClient

JsonObject = dict[str, JsonValue]


class WorkerPoolObject(TypedDict):
    """The JSON of `schemas.organism.WorkerPoolStatus`."""

    desired: int
    alive: int
    names: list[str]
    workers: list[JsonObject]


class OrganismStatusObject(TypedDict):
    """The JSON of `schemas.organism.OrganismStatus`."""

    organism_initialized: bool
    stopped: bool
    leads: bool
    epoch: int
    organs: dict[str, JsonObject]
    workers: dict[str, WorkerPoolObject]
    quarantined: list[JsonObject]
    missing_organs: list[str]


class OrganismClient(ServiceClient):
    """Reads and changes organs, reads the routing table, and runs single tasks on an organ."""

    app, prefix = "organism", "/organism"

    async def initialize(self) -> OrganismStatusObject:
        """Bring every organ to its desired size; returns the status."""
        return cast(OrganismStatusObject, await self.call("POST", "/initialize"))

    async def status(self) -> OrganismStatusObject:
        """Organs, hosts and whether all are up."""
        return cast(OrganismStatusObject, await self.call("GET", "/status"))

    async def fleet(self, epoch: int | None = None) -> RoutingTableAnswer:
        """The routing table, or `{epoch, unchanged: true}` when it is still that of `epoch`."""
        return cast(RoutingTableAnswer, await self.call("GET", "/fleet", {"epoch": epoch}))

    async def shutdown(self) -> OrganismStatusObject:
        """Drain and stop every host, until `initialize`; returns the status."""
        return cast(OrganismStatusObject, await self.call("POST", "/shutdown"))

    async def put_workers(self, default: int, graph: int, per_node: int | None = None) -> dict[str, WorkerPoolObject]:
        """Set how many workers there are to be; returns those of each queue as they are now."""
        body = {"default": default, "graph": graph, "per_node": per_node}
        return cast(dict[str, WorkerPoolObject], await self.call("PUT", "/workers", body))

    async def organs(self) -> list[JsonObject]:
        """The desired state of every organ; see `schemas.organism.OrganModel`."""
        return list((await self.call("GET", "/organs"))["items"])

    async def resolve_route(self, task_type: str | None = None, domain: str | None = None) -> JsonObject:
        """The organ of a type, or of a domain: `{organ_id, resolved_from, epoch}`."""
        request = {"type": task_type, "domain": domain}
        return await self._object(
            "POST", "/resolve-route", {name: value for name, value in request.items() if value is not None}
        )

    async def resolve_routes(self, items: Sequence[Mapping[str, object]]) -> JsonObject:
        """The same for many: `{items: [{organ_id, resolved_from} or {error}], epoch}`."""
        return await self._object("POST", "/resolve-routes", {"items": [dict(item) for item in items]})

    async def evolve(self, request: Mapping[str, object]) -> JsonObject:
        """Split, merge, clone or retire; returns the record with the energy measured before and after."""
        return await self._object("POST", "/evolve", request)

    async def execute_on_organ(self, organ_id: str, task: Mapping[str, object], timeout_s: float) -> JsonObject:
        """Run one task on an agent of the organ, past the queue; see `schemas.organism.ExecuteResult`."""
        body = {"organ_id": organ_id, "task": dict(task), "organ_timeout_s": timeout_s}
        return await self._object("POST", "/execute-on-organ", body)

    async def _object(self, method: str, path: str, body: Mapping[str, object] | None = None) -> JsonObject:
        return dict(await self.call(method, path, body))
