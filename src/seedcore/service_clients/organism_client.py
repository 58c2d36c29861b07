"""Client of the Organism."""

from collections.abc import Mapping, Sequence
from typing import Any

from seedcore.service_clients.service_client import ServiceClient


class OrganismClient(ServiceClient):
    """Asks for organs, agents and the execution of one task on an organ."""

    app, prefix = "organism", "/organism"

    async def initialize(self) -> dict[str, Any]:
        """Bring every organ to its desired size; returns the status."""
        return dict(await self.call("POST", "/initialize"))

    async def status(self) -> dict[str, Any]:
        """Organs, hosts and whether all are there."""
        return dict(await self.call("GET", "/status"))

    async def fleet(self, epoch: int | None = None) -> dict[str, Any]:
        """The routing table by columns, or `{epoch, unchanged: true}` when it is still that of `epoch`.

        `{epoch, skills: {skill: organ}, timeouts: {skill: seconds}, organs: {organ: {hosts: [name], agents: [id],
        host: [place in hosts], scouts: [place in agents], archived: [place in agents]}}}`
        """
        return dict(await self.call("GET", "/fleet", {"epoch": epoch}))

    async def shutdown(self) -> dict[str, Any]:
        """Drain and stop every host, until `initialize`; returns the status."""
        return dict(await self.call("POST", "/shutdown"))

    async def organs(self) -> list[dict[str, Any]]:
        """What every organ ought to be, each with its version."""
        return list((await self.call("GET", "/organs"))["items"])

    async def resolve_route(self, task_type: str | None = None, domain: str | None = None) -> dict[str, Any]:
        """The organ of a type, or of a domain: `{organ_id, resolved_from, epoch}`."""
        asked = {"type": task_type, "domain": domain}
        return dict(await self.call("POST", "/resolve-route", {k: v for k, v in asked.items() if v is not None}))

    async def resolve_routes(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The same for many: `{items: [{organ_id, resolved_from} or {error}], epoch}`."""
        return dict(await self.call("POST", "/resolve-routes", {"items": [dict(item) for item in items]}))

    async def evolve(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Split, merge, clone or retire; returns the record with the energy measured before and after."""
        return dict(await self.call("POST", "/evolve", request))

    async def execute_on_organ(self, organ_id: str, task: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Run one task on an agent of the organ, past the queue."""
        body = {"organ_id": organ_id, "task": dict(task), "organ_timeout_s": timeout_s}
        return dict(await self.call("POST", "/execute-on-organ", body))
