"""Client of the State service."""

from typing import Any

from seedcore.service_clients.service_client import ServiceClient


class StateClient(ServiceClient):
    """Asks for the unified state."""

    app, prefix = "state", "/state"

    async def unified_state(self, **filters: Any) -> dict[str, Any]:
        """`{agents, organs, system, memory, ages}`; see `schemas.state.StateRequest` for the filters."""
        return dict(await self.call("POST", "/unified-state", filters))
