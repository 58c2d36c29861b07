"""Client of the State service."""

from collections.abc import Mapping

from seedcore.service_clients.service_client import ServiceClient


class StateClient(ServiceClient):
    """Reads the unified state."""

    app, prefix = "state", "/state"

    async def unified_state(self, **filters: object) -> Mapping[str, object]:
        """`{agents, organs, system, memory, ages}`; see `schemas.state.StateRequest` for the filters."""
        return dict(await self.call("POST", "/unified-state", filters))
