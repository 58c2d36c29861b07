"""The State service's Serve deployment."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from ray import serve

from seedcore.state.schemas import MemoryState, StateRequest, SystemState, UnifiedState
from seedcore.state.view import AgentView
from seedcore.stores.postgres import Database
from seedcore.tasks import queries
from seedcore.utils.serving import Operation, ServiceBase


class StateService(ServiceBase):
    """Sees everything: agents, organs, the queue, memory. The database is its source, so replicas agree."""

    name = "state"

    async def start(self) -> None:
        """Connect lazily."""
        self._database = Database(self.settings, size=2, name="seedcore-state")
        self._view = AgentView(self._database)

    async def stop(self) -> None:
        """Close connections."""
        await self._database.aclose()

    def operations(self) -> Sequence[Operation]:
        """What State does."""
        return [Operation("POST", "/unified-state", self.unified_state, StateRequest, summary="Everything at once")]

    def extend(self, app: FastAPI) -> None:
        """`GET /unified-state`: everything, without filters."""

        @app.get("/unified-state", response_model=UnifiedState, response_model_exclude_none=True)
        async def get_unified_state() -> UnifiedState:
            """Everything at once."""
            return await self.unified_state(StateRequest())

    async def unified_state(self, request: StateRequest) -> UnifiedState:
        """The parts that were asked for, read now."""
        began = time.perf_counter()
        state = UnifiedState(collected_ms=0.0)
        if request.include_agents or request.include_organs:
            await self._view.refresh()
        if request.include_agents:
            state.agents = self._view.agents(request.agent_ids, request.organ_ids)
        if request.include_organs:
            state.organs = self._view.organs(request.organ_ids)
        async with self._database.connection() as connection:
            if request.include_system:
                found = await queries.queue_state(connection)
                state.system = SystemState(**{**found, "dispatchers": len(found["dispatchers"])})
            if request.include_memory:
                count = await connection.fetchval("select count(*) from seedcore.flashbulbs")
                state.memory = MemoryState(flashbulbs=count)
        state.collected_ms = round((time.perf_counter() - began) * 1000, 3)
        return state

    async def health(self) -> Mapping[str, Any]:
        """Ready when the database answers."""
        database = await self._database.ready()
        return {"ready": database["ready"], "postgres": database}


StateDeployment = serve.deployment(name="StateService")(serve.ingress()(StateService))
