"""Client of the Coordinator."""

from collections.abc import Mapping
from typing import Any, cast

from seedcore.schemas.snapshot import SnapshotUpdate, WorkerReportJson
from seedcore.service_clients.service_client import ServiceClient


class CoordinatorClient(ServiceClient):
    """Calls the Coordinator's operations."""

    app, prefix = "coordinator", "/pipeline"

    async def exchange(self, report: WorkerReportJson) -> SnapshotUpdate:
        """Report what a worker did; what changed in the snapshot that it decides with.

        The report waits for a change for half of the client's timeout at most, whatever its `wait_s`.

        Raises:
            SeedCoreError: the Coordinator does not answer, or has nothing to publish; the report is to be sent again.
        """
        given: dict[str, object] = {**report, "wait_s": min(report["wait_s"], self.timeout_s / 2)}
        return cast("SnapshotUpdate", await self.call("POST", "/exchange", given))

    async def route_and_execute(self, task: Mapping[str, object]) -> dict[str, Any]:
        """Submit a task and wait for its end; the task as `GET /api/v1/tasks/{id}` shows it."""
        return dict(await self.call("POST", "/route-and-execute", task))

    async def anomaly_triage(self, request: Mapping[str, object]) -> dict[str, Any]:
        """Detect, reason, decide, act; see `schemas.triage.TriageRequest`."""
        return dict(await self.call("POST", "/anomaly-triage", request))

    async def valve(self) -> dict[str, Any]:
        """The valves of every stream, as `GET /pipeline/valve` shows them."""
        return dict(await self.call("GET", "/valve"))
