"""The Energy service's Serve deployment."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from ray import serve

from seedcore.energy.cost_change import failures_change, seconds_change
from seedcore.energy.ledger_calibration import MIN_OUTCOMES, calibrate
from seedcore.energy.proposals import proposals
from seedcore.energy.repository import EnergyRepository
from seedcore.energy.state_vectors import StateVectors, named_slopes, state_vectors
from seedcore.errors import SeedCoreError
from seedcore.pricing.outcome_sums import Sums
from seedcore.pricing.potential import Weights, gradient, potential
from seedcore.schemas import energy as schemas
from seedcore.schemas.energy import (
    ComputeEnergy,
    ComputeGradient,
    EnergyOut,
    GradientOut,
    StateIn,
    WeightsIn,
    WeightsOut,
)
from seedcore.schemas.energy_change import ChangeRequest, EnergyChangeOut, TaskCost
from seedcore.service_clients.state_client import StateClient
from seedcore.stores.postgres import Database
from seedcore.telemetry.metrics import gauge
from seedcore.web.service_base import Operation, ServiceBase, parse


class EnergyService(ServiceBase):
    """Prices states of the fleet, and measures how true the prices were."""

    name = "energy"

    async def start(self) -> None:
        """Create the parts; connections are opened by the first request."""
        self._state = StateClient(self.settings, timeout_s=10)
        self._repository = EnergyRepository(self.settings)
        self._flywheel = asyncio.create_task(self._repository.run_flywheel(), name="flywheel")

    async def stop(self) -> None:
        """Close connections."""
        self._flywheel.cancel()
        await asyncio.gather(self._flywheel, return_exceptions=True)
        await self._repository.aclose()
        await self._state.aclose()

    def own_database(self) -> Database:
        """The pool that keys are looked up and metrics are written through."""
        return self._repository.database

    def operations(self) -> Sequence[Operation]:
        """The service's operations."""
        return [
            Operation("POST", "/compute-energy", self.compute_energy, ComputeEnergy, summary="Price a state"),
            Operation("POST", "/gradient", self.compute_gradient, ComputeGradient, summary="Slopes at a state"),
            Operation("POST", "/optimize-agents", self.optimize, schemas.OptimizeAgents, summary="What would lower it"),
            Operation("POST", "/flywheel/result", self.flywheel, schemas.FlywheelRequest, summary="Turn the flywheel"),
            Operation("GET", "/ledger", self.ledger, schemas.LedgerRequest, summary="Expected and realised changes"),
            Operation("GET", "/metrics", self.metrics, schemas.MetricsRequest, summary="How true expectations are"),
            Operation("GET", "/change", self.change, ChangeRequest, summary="Whether it changed at a moment"),
        ]

    async def compute_energy(self, request: ComputeEnergy) -> EnergyOut:
        """Energy of the state in the body, or of the live one; the answer says which."""
        vectors, source = await self._vectors(request.unified_state)
        weights, v_source = await self._weights(request.weights)
        found = potential(vectors.state, weights)
        if source == "live":
            for term, value in found.breakdown.items():
                gauge("seedcore_energy_term").set(value, term=term)
        return EnergyOut(
            energy=found.energy,
            breakdown=found.breakdown if request.include_breakdown else None,
            absent=vectors.absent,
            source=source,
            agents=len(vectors.agents),
            v=weights.v,
            weights=WeightsOut(**asdict(weights), v_source=v_source),
        )

    async def compute_gradient(self, request: ComputeGradient) -> GradientOut:
        """Slopes of the energy at the state in the body, or at the live one; the answer says which."""
        vectors, source = await self._vectors(request.unified_state)
        weights, v_source = await self._weights(request.weights)
        slopes = named_slopes(vectors, gradient(vectors.state, weights))
        energy = potential(vectors.state, weights).energy
        in_force = WeightsOut(**asdict(weights), v_source=v_source)
        return GradientOut(**slopes, energy=energy, absent=vectors.absent, source=source, weights=in_force)

    async def optimize(self, request: schemas.OptimizeAgents) -> schemas.OptimizeOut:
        """Moves of waiting tasks that would lower the energy, and what one more agent is worth; nothing is moved."""
        state = request.unified_state or await self._live()
        moves, organs = await asyncio.to_thread(proposals, state, request.organ, request.max_moves)
        return schemas.OptimizeOut(
            moves=moves,
            organs=organs,
            delta_energy=sum(move.delta_energy for move in moves),
            source="live" if request.unified_state is None else "given",
        )

    async def flywheel(self, request: schemas.FlywheelRequest) -> schemas.FlywheelOut:
        """Adapt V to measured failures, within bounds; or undo a turn. Coordinators use it within seconds."""
        source = "undo"
        if request.undo is not None:
            result = await self._repository.undo(request.undo)
        else:
            given = (
                None if request.outcomes is None or request.failures is None else (request.outcomes, request.failures)
            )
            result, source = await self._repository.turn(given)
        lowest, highest = self._repository.bounds()
        return schemas.FlywheelOut(**result, source=source, lowest=lowest, highest=highest)

    async def ledger(self, request: schemas.LedgerRequest) -> schemas.LedgerOut:
        """What decisions were expected to change and what they changed, by scope."""
        items = await self._repository.page(request.scope, request.before, request.limit)
        return schemas.LedgerOut(items=items, next=items[-1]["id"] if len(items) == request.limit else None)

    async def metrics(self, request: schemas.MetricsRequest) -> schemas.MetricsOut:
        """Calibration over the last seconds, and the weights in force."""
        scopes, changes = await self._repository.by_scope(request.window_s)
        overall = Sums()
        for sums in scopes.values():
            overall.join(sums)
        whole, (weights, v_source) = calibrate(overall), await self._weights(None)
        return schemas.MetricsOut(
            window_s=request.window_s,
            overall=None if whole is None else asdict(whole),
            scopes={scope: asdict(one) for scope, sums in scopes.items() if (one := calibrate(sums)) is not None},
            weights=WeightsOut(**asdict(weights), v_source=v_source),
            changes=changes,
            flywheel=self._repository.flywheel_status(),
        )

    async def change(self, request: ChangeRequest) -> EnergyChangeOut:
        """The measured change of energy at a moment. Promotions are judged by it, never by figures of a caller."""
        given, at = request, request.moment
        found, before, after = await self._repository.change(at, given.window_s, given.scope, given.type, given.domain)
        return EnergyChangeOut(
            **asdict(found),
            at=at,
            window_s=given.window_s,
            scope=given.scope,
            tasks_before=before.tasks,
            tasks_after=after.tasks,
            seconds=TaskCost(**asdict(seconds_change(before, after))),
            failures=TaskCost(**asdict(failures_change(before, after))),
            enough=min(before.tasks, after.tasks) >= MIN_OUTCOMES,
            verdict=found.verdict,
        )

    async def health(self) -> Mapping[str, object]:
        """Ready when State and the database answer."""
        state: dict[str, object] = {"ready": True}
        try:
            await self._live()
        except SeedCoreError as error:
            state = {"ready": False, "reason": error.detail}
        state["http_fallbacks"] = self._state.counts.fallbacks
        database = await self._repository.ready()
        ready = bool(state["ready"] and database["ready"])
        return {"ready": ready, "state": state, "postgres": database, "flywheel": self._repository.flywheel_status()}

    async def _vectors(self, given: StateIn | None) -> tuple[StateVectors, str]:
        if given is not None:
            return state_vectors(given), "given"
        live, facts = await asyncio.gather(self._live(), self._repository.fleet_facts())
        known = {"drift": facts.drift, "traffic": facts.traffic, "collaboration": facts.collaboration}
        return state_vectors(live.model_copy(update=known), facts.absent), "live"

    async def _weights(self, given: WeightsIn | None) -> tuple[Weights, str]:
        """The weights in force, replaced by the given ones; and the source of V."""
        chosen = {} if given is None else given.model_dump(exclude_none=True)
        if "v" in chosen:
            return Weights(**chosen), "request"
        v, source = await self._repository.v()
        return replace(Weights(v=v), **chosen), source

    async def _live(self) -> StateIn:
        answer = await self._state.unified_state(include_organs=False, include_system=False, include_vectors=True)
        return parse(StateIn, answer)


EnergyDeployment = serve.deployment(name="EnergyService")(serve.ingress()(EnergyService))
