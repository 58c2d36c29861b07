"""Client of the Energy service."""

from datetime import datetime
from typing import Any

from seedcore.service_clients.service_client import ServiceClient


class EnergyClient(ServiceClient):
    """Asks for prices, and for what was measured."""

    app, prefix = "energy", "/energy"

    async def compute_energy(self, unified_state: Any = None) -> dict[str, Any]:
        """Energy of a state, or of the live one; see `schemas.energy.EnergyOut`."""
        asked = {} if unified_state is None else {"unified_state": unified_state}
        return dict(await self.call("POST", "/compute-energy", asked))

    async def measured_change(self, at: datetime, window_s: float, scope: str | None = None) -> dict[str, Any]:
        """The measured change of energy at a moment, with its interval; see `schemas.energy.ChangeOut`."""
        asked = {"at": at.isoformat(), "window_s": window_s, "scope": scope}
        return dict(await self.call("GET", "/change", {k: v for k, v in asked.items() if v is not None}))
