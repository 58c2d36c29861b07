"""The Energy service's Serve deployment."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ray import serve

from seedcore.clients.state import StateClient
from seedcore.energy.potential import potential
from seedcore.energy.schemas import ComputeEnergy, EnergyOut, StateIn
from seedcore.errors import SeedCoreError
from seedcore.utils.serving import Operation, ServiceBase, parse


class EnergyService(ServiceBase):
    """Prices states of the fleet."""

    name = "energy"

    async def start(self) -> None:
        """Connect lazily."""
        self._state = StateClient(self.settings, timeout_s=10)

    async def stop(self) -> None:
        """Close connections."""
        await self._state.aclose()

    def operations(self) -> Sequence[Operation]:
        """What Energy does."""
        return [Operation("POST", "/compute-energy", self.compute_energy, ComputeEnergy, summary="Price a state")]

    async def compute_energy(self, request: ComputeEnergy) -> EnergyOut:
        """Energy of the state in the body, or of the live one; the answer says which."""
        source = "given" if request.unified_state is not None else "live"
        state = request.unified_state or await self._live()
        agents = list(state.agents.values())
        queued = np.array([agent.queued_s for agent in agents], dtype=np.float64)
        # Expected failures among what is in hand: the agent's own share so far, none known before its first outcome.
        failing = np.array(
            [agent.running * agent.failed / max(1, agent.completed + agent.failed) for agent in agents],
            dtype=np.float64,
        )
        found = potential(queued, failing, v=self.settings.energy_v)
        return EnergyOut(
            energy=found.energy,
            breakdown=found.breakdown if request.include_breakdown else None,
            source=source,
            agents=len(agents),
            v=self.settings.energy_v,
        )

    async def health(self) -> Mapping[str, Any]:
        """Ready when State answers."""
        try:
            await self._live()
            state: dict[str, Any] = {"ready": True}
        except SeedCoreError as error:
            state = {"ready": False, "reason": error.detail}
        state["http_fallbacks"] = self._state.counts.fallbacks
        return {"ready": state["ready"], "state": state}

    async def _live(self) -> StateIn:
        answer = await self._state.unified_state(include_organs=False, include_system=False, include_memory=False)
        return parse(StateIn, answer)


EnergyDeployment = serve.deployment(name="EnergyService")(serve.ingress()(EnergyService))
