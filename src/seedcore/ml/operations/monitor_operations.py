"""What is watched of models in use, and the leader's jobs that watch it."""

from collections.abc import Mapping, Sequence

from seedcore.ml.monitoring.monitor_keeper import MonitorKeeper
from seedcore.ml.monitoring.monitor_store import list_monitors
from seedcore.ml.parts import MLParts
from seedcore.schemas.ml.retraining import MonitoredModel, MonitorsQuery, MonitorsResponse
from seedcore.service_clients.coordinator_client import CoordinatorClient
from seedcore.stores.leading.leader_loop import LeaderJob
from seedcore.web.service_base import Operation

RUN_S, ASK_S = 0.5, 1.0
TRIAGE_TIMEOUT_S = 30.0


class MonitorOperations:
    """Monitors of every champion."""

    def __init__(self, parts: MLParts) -> None:
        self._database = parts.database
        self._coordinator = CoordinatorClient(parts.settings, timeout_s=TRIAGE_TIMEOUT_S)
        self.keeper = MonitorKeeper(parts.database, parts.store, self._coordinator, parts.settings.arl0)

    def operations(self) -> Sequence[Operation]:
        """What this part serves."""
        summary = "What is watched of models in use"
        return (Operation("GET", "/xgboost/monitors", self.monitors, MonitorsQuery, summary=summary),)

    def jobs(self) -> Sequence[LeaderJob]:
        """What the leader does."""
        return (
            LeaderJob("monitors", RUN_S, self.keeper.run),
            LeaderJob("model triage", ASK_S, self.keeper.ask),
        )

    def health(self) -> Mapping[str, object]:
        """`{failing}`: why models are not watched, by name; of the leader, who watches them."""
        return {"failing": dict(self.keeper.failing)}

    async def monitors(self, request: MonitorsQuery) -> MonitorsResponse:
        """State and evidence of each champion's monitors, its measured accuracy, and what alarms have caused."""
        async with self._database.connection() as connection:
            rows = await list_monitors(connection, request.name)
        models = [
            MonitoredModel.model_validate(
                {"name": row.name, "version": row.version, "updated_at": row.updated_at, **row.facts["report"]}
            )
            for row in rows
        ]
        return MonitorsResponse(models=models, failing=self.keeper.failing)

    async def aclose(self) -> None:
        """Close connections."""
        await self._coordinator.aclose()
