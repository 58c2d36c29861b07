"""The Energy service's Serve deployment."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from ray import serve

from seedcore.clients.state import StateClient
from seedcore.energy.facts import Facts, facts_of, named
from seedcore.energy.potential import Weights, gradient, potential
from seedcore.energy.schemas import ComputeEnergy, ComputeGradient, EnergyOut, GradientOut, StateIn, WeightsIn
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
        return [
            Operation("POST", "/compute-energy", self.compute_energy, ComputeEnergy, summary="Price a state"),
            Operation("POST", "/gradient", self.compute_gradient, ComputeGradient, summary="Slopes at a state"),
        ]

    async def compute_energy(self, request: ComputeEnergy) -> EnergyOut:
        """Energy of the state in the body, or of the live one; the answer says which."""
        facts, source = await self._facts(request.unified_state)
        weights = self._weights(request.weights)
        found = potential(facts.state, weights)
        return EnergyOut(
            energy=found.energy,
            breakdown=found.breakdown if request.include_breakdown else None,
            absent=facts.absent,
            source=source,
            agents=len(facts.agents),
            v=weights.v,
            weights=asdict(weights),
        )

    async def compute_gradient(self, request: ComputeGradient) -> GradientOut:
        """Slopes of the energy at the state in the body, or at the live one; the answer says which."""
        facts, source = await self._facts(request.unified_state)
        weights = self._weights(request.weights)
        slopes = named(facts, gradient(facts.state, weights))
        energy = potential(facts.state, weights).energy
        return GradientOut(**slopes, energy=energy, absent=facts.absent, source=source, weights=asdict(weights))

    async def health(self) -> Mapping[str, Any]:
        """Ready when State answers."""
        try:
            await self._live()
            state: dict[str, Any] = {"ready": True}
        except SeedCoreError as error:
            state = {"ready": False, "reason": error.detail}
        state["http_fallbacks"] = self._state.counts.fallbacks
        return {"ready": state["ready"], "state": state}

    async def _facts(self, told: StateIn | None) -> tuple[Facts, str]:
        return facts_of(told or await self._live()), "given" if told is not None else "live"

    def _weights(self, given: WeightsIn | None) -> Weights:
        in_force = Weights(v=self.settings.energy_v)
        return in_force if given is None else replace(in_force, **given.model_dump(exclude_none=True))

    async def _live(self) -> StateIn:
        answer = await self._state.unified_state(include_organs=False, include_system=False, include_vectors=True)
        return parse(StateIn, answer)


EnergyDeployment = serve.deployment(name="EnergyService")(serve.ingress()(EnergyService))
