"""Client of the Organism."""

from collections.abc import Mapping
from typing import Any

from seedcore.clients.base import ServiceClient


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

    async def execute_on_organ(self, organ_id: str, task: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Run one task on an agent of the organ, past the queue."""
        body = {"organ_id": organ_id, "task": dict(task), "organ_timeout_s": timeout_s}
        return dict(await self.call("POST", "/execute-on-organ", body))
