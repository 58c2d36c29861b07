"""Client of the Coordinator."""

from collections.abc import Mapping, Sequence
from typing import Any

from seedcore.service_clients.service_client import ServiceClient


class CoordinatorClient(ServiceClient):
    """Asks what to do with tasks."""

    app, prefix = "coordinator", "/pipeline"

    async def decide_batch(self, asker: str, tasks: Sequence[Mapping[str, Any]], feedback: Any) -> list[dict[str, Any]]:
        """One decision for each task, with the dispatcher's feedback; see `schemas.coordinator.DecideBatch`."""
        answer = await self.call("POST", "/decide-batch", {"asker": asker, "tasks": list(tasks), **feedback})
        return list(answer["decisions"])

    async def decide_columns(self, asker: str, tasks: Mapping[str, Sequence[Any]], feedback: Any) -> dict[str, Any]:
        """The same by columns; see `schemas.coordinator.DecideColumns` and `DecisionColumns`."""
        return dict(await self.call("POST", "/decide-columns", {"asker": asker, "tasks": tasks, **feedback}))

    async def route_and_execute(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Submit a task and wait for its end; the task as `GET /api/v1/tasks/{id}` shows it."""
        return dict(await self.call("POST", "/route-and-execute", task))

    async def anomaly_triage(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Look, reason, decide, act; see `schemas.triage.TriageRequest`."""
        return dict(await self.call("POST", "/anomaly-triage", request))

    async def valve(self) -> dict[str, Any]:
        """Every stream's valve, as `GET /pipeline/valve` shows them."""
        return dict(await self.call("GET", "/valve"))
