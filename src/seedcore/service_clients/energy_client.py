"""Client of the Energy service."""

from collections.abc import Mapping
from datetime import datetime

from seedcore.service_clients.service_client import ServiceClient


class EnergyClient(ServiceClient):
    """Asks what a change cost."""

    app, prefix = "energy", "/energy"

    async def change(self, since: datetime, type_: str, window_s: float) -> Mapping[str, object]:
        """Energy, seconds and failures of tasks of a type before and after a moment: `GET /energy/change`."""
        query = {"since": since.isoformat(), "type": type_, "window_s": window_s}
        return dict(await self.call("GET", "/change", query))
