"""The Coordinator's Serve deployment."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated
from uuid import UUID

import orjson
from fastapi import Body, FastAPI
from ray import serve

from seedcore.coordinator.batch_decider import BatchDecider
from seedcore.coordinator.fleet_cache import FleetCache
from seedcore.coordinator.ledger_writer import LedgerWriter
from seedcore.coordinator.policy_runtime import PolicyRuntime
from seedcore.coordinator.publishing.published_snapshot import PublishedSnapshot
from seedcore.coordinator.publishing.report_learner import ReportLearner
from seedcore.coordinator.publishing.snapshot_keeper import SnapshotKeeper
from seedcore.coordinator.publishing.snapshot_publisher import SnapshotPublisher
from seedcore.coordinator.triage.actions import TriageAction, TriageTools, load_actions
from seedcore.coordinator.triage.incident_keeper import IncidentKeeper
from seedcore.coordinator.triage.repository import TriageRepository, parse_cursor
from seedcore.coordinator.triage.run_triage import TriageRunner
from seedcore.coordinator.triage.webhooks import Webhooks
from seedcore.decision.agent_selection import RoutingState
from seedcore.errors import DeadlineError, SeedCoreError
from seedcore.memory.flashbulbs.flashbulb_store import FlashbulbStore
from seedcore.schemas.coordinator import (
    CalibrateRequest,
    DecideColumns,
    DecideRequest,
    DecisionColumns,
    Decisions,
    ExecuteRequest,
    task_batch,
)
from seedcore.schemas.snapshot import WorkerReport
from seedcore.schemas.triage import TriageQuery, TriageRequest
from seedcore.service_clients.cognitive_client import CognitiveClient
from seedcore.service_clients.ml_client import MLClient
from seedcore.service_clients.organism_client import OrganismClient
from seedcore.skills.registry import SkillRegistry
from seedcore.stores.postgres import Database
from seedcore.tasks import queries
from seedcore.tasks.events.task_feed import EventFeed
from seedcore.tasks.plans.recipes import recipes
from seedcore.tasks.submission.tenancy import HERE, Origin
from seedcore.tasks.submission.validate import Submission
from seedcore.tasks.task_json import task_json
from seedcore.web.access.caller import ANONYMOUS, Caller, CallerDep, approver_name
from seedcore.web.service_base import Operation, ServiceBase

Json = dict[str, object]


class CoordinatorService(ServiceBase):
    """Publishes what workers decide with, and hears what they did; submits single tasks and waits for them."""

    name = "coordinator"

    async def start(self) -> None:
        """Create the parts; connections are opened by the first request."""
        settings = self.settings
        self._database = Database(settings, name="seedcore-coordinator")
        self._organism = OrganismClient(settings, timeout_s=5)
        changed = asyncio.Event()
        self._fleet = FleetCache(self._organism, self._database, changed)
        self._routing = RoutingState(
            settings.energy_v,
            settings.scout_share,
            settings.router,
            money=settings.energy_money,
            bytes_per_s=settings.data_bytes_per_s,
        )
        self._ledger = LedgerWriter(self._database, self._routing, settings, changed)
        actions = load_actions(settings)
        self._ml, self._cognitive = MLClient(settings, timeout_s=15), CognitiveClient(settings, timeout_s=10)
        self._policy = PolicyRuntime(settings, self._database, self._ml, actions, changed)
        self._policy.start()
        self._publish(changed)
        self._decider = BatchDecider(self._fleet, self._routing, self._policy, self._learner)
        self._feed = EventFeed(self._database)
        self._submission = Submission(settings, SkillRegistry.load(settings))
        self._triage = self._make_triage(actions)

    def _publish(self, changed: asyncio.Event) -> None:
        snapshot = PublishedSnapshot(self._fleet.fleet)
        self._learner = ReportLearner(self._fleet.fleet, self._policy, self._ledger, snapshot, changed)
        keeper = SnapshotKeeper(self._database, snapshot)
        self._publisher = SnapshotPublisher(
            self._fleet, self._routing, self._policy, self._learner, snapshot, keeper, changed
        )
        self._publisher.start()

    def _make_triage(self, actions: Mapping[str, TriageAction]) -> TriageRunner:
        policy, webhooks = self._policy, Webhooks(self.settings.webhook_urls)
        jobs = self.settings.model_jobs
        tools = TriageTools(self._database, policy.holds, policy.maintenance, self._submission, webhooks, jobs)
        repository = TriageRepository(self._database, self.settings.retention_dead_d * 86_400)
        self._flashbulbs = FlashbulbStore(self.settings)
        score, gate = policy.salience.of_incident, self.settings.flashbulb_salience
        self._incidents = IncidentKeeper(self._flashbulbs, repository, policy.streams, score, gate)
        self._incidents.start()
        wake = self._incidents.wake
        return TriageRunner(self._ml, self._cognitive, policy, tools, actions, repository, wake)

    async def stop(self) -> None:
        """Close connections."""
        await self._triage.aclose()
        await self._incidents.aclose()
        await self._flashbulbs.close()
        await self._cognitive.aclose()
        await self._publisher.aclose()
        await self._fleet.aclose()
        await self._policy.aclose()
        await self._ml.aclose()
        await self._ledger.aclose()
        await self._feed.aclose()
        await self._database.aclose()
        await self._organism.aclose()

    def own_database(self) -> Database:
        """The pool that keys are looked up and metrics are written through."""
        return self._database

    def operations(self) -> Sequence[Operation]:
        """The Coordinator's operations."""
        return [
            Operation("POST", "/decide", self.decide, DecideRequest, summary="Show a decision without acting"),
            Operation("POST", "/decide-columns", self.decide_columns, DecideColumns, summary="Of the previous release"),
            Operation("POST", "/exchange", self.exchange, WorkerReport, summary="A worker's report, and what changed"),
            Operation(
                "POST",
                "/route-and-execute",
                self.route_and_execute,
                ExecuteRequest,
                summary="Run and wait",
                submits=True,
            ),
            Operation(
                "POST", "/anomaly-triage", self.anomaly_triage, TriageRequest, summary="Detect, reason, decide, act"
            ),
            Operation("GET", "/triage", self.triages, TriageQuery, summary="Recorded triages"),
            Operation("GET", "/recipes", self.recipes, summary="Plans that run without a search"),
            Operation("GET", "/metrics", self.metrics, summary="What was decided"),
            Operation("GET", "/policy", self.policy, summary="The policy in force"),
            Operation("POST", "/policy/reload", self.reload_policy, summary="Read the policy file again"),
            Operation("GET", "/valve", self.valve, summary="Every stream's valve"),
        ]

    def extend(self, app: FastAPI) -> None:
        """Add the routes of single streams and triages."""

        @app.post("/valve/{stream:path}/calibrate")
        async def calibrate(stream: str, request: Annotated[CalibrateRequest | None, Body()] = None) -> Json:
            """Calibrate on the newest observations; the answer holds the ARL₀ that a simulation on them achieved."""
            given = request or CalibrateRequest()
            return await self._policy.maintenance.calibrate(stream, given.arl0, given.seed)

        @app.post("/valve/{stream:path}/release")
        async def release(stream: str, caller: CallerDep) -> Json:
            """End a hold of the stream; 403 when there are approvers, and the key is none of theirs."""
            approver_name(caller, bool(self.settings.approvers))
            return await self._policy.holds.release(stream)

        @app.get("/triage/{triage_id}")
        async def get_triage(triage_id: UUID) -> Json:
            """All that a triage saw, reasoned, decided and did."""
            return await self._triage.repository.get(triage_id)

    async def anomaly_triage(self, request: TriageRequest) -> Json:
        """Find anomalies, reason about them, decide, and act as the policy allows; all of it is recorded."""
        return await self._triage.run(request)

    async def triages(self, request: TriageQuery) -> Json:
        """Triages, the newest first, without their details; `next_cursor` is null on the last page."""
        before = None if request.cursor is None else parse_cursor(request.cursor)
        return await self._triage.repository.page(request.stream, before, request.limit)

    async def policy(self) -> Json:
        """The rules in the order in which they are tried, their version, and how often each failed."""
        return self._policy.policy()

    async def reload_policy(self) -> Json:
        """Read the policy file again; a wrong one answers 422, and the previous one stays in force."""
        return self._policy.reload()

    async def valve(self) -> Json:
        """Every stream: learning, closed or open, its evidence, and its calibration."""
        return self._policy.valves()

    async def decide(self, request: DecideRequest) -> Decisions:
        """What would be decided for these tasks now; nothing is changed."""
        return Decisions.of(await self._decider.preview(task_batch(request.tasks)))

    async def decide_columns(self, request: DecideColumns) -> DecisionColumns:
        """Learn from the report of a dispatcher of the previous release, then decide for its batch."""
        return DecisionColumns.of(await self._decider.answer(request))

    async def exchange(self, request: WorkerReport) -> bytes:
        """Hear a worker's report, once; answer with what changed in the snapshot that it decides with.

        Waits for a change that matters at once for as long as the report says.
        """
        return orjson.dumps(await self._publisher.exchange(request))

    async def route_and_execute(
        self, request: ExecuteRequest, *, origin: Origin = HERE, caller: Caller = ANONYMOUS
    ) -> bytes:
        """Submit a task, wait for its end, and answer with the ended task, whatever its end.

        Raises:
            DeadlineError: it did not end in time; it continues, and the problem document holds its id.
        """
        fields = request.model_dump(exclude={"wait_s"}, exclude_unset=True)
        async with self._database.connection() as connection:
            _, submitted = await self._submission.one(connection, fields, origin)
        wait_s = min(request.wait_s or self.settings.route_wait_s, self.settings.request_timeout_s - 1)
        if not await self._feed.wait_ended(submitted.id, wait_s):
            raise DeadlineError(
                f"Task {submitted.id} has not ended within {wait_s:g} s; follow GET /api/v1/tasks/{submitted.id}.",
                id=str(submitted.id),
            )
        async with self._feed.lookups.connection() as connection:
            return task_json(await queries.get(connection, submitted.id), caller.payloads)

    async def recipes(self) -> Json:
        """Every recipe, including withdrawn ones, and how its runs ended."""
        return {"items": await recipes(self._database)}

    async def metrics(self) -> Json:
        """Counts since this replica started."""
        return {
            "batches": self._decider.batches,
            "decisions": dict(self._learner.decisions),
            "router": self._routing.router,
            "energy_v": self._routing.v,
            "unplanned": self._policy.unplanned,
            "dropped_reports": self._learner.dropped_reports,
            "data_places_over_limit": self._routing.places_over_limit,
            "ledger": self._ledger.counts,
            "fleet_epoch": self._fleet.fleet.epoch,
            "triage": self._triage.counts,
            "publishing": self._publisher.report(),
        }

    async def health(self) -> Mapping[str, object]:
        """Ready when the database answers, and there are a routing table and a policy."""
        database = await self._database.ready()
        organism: Json = {"ready": False}
        try:
            fleet = await self._fleet.get()
            organism = {"ready": True, "epoch": fleet.epoch, "skills": len(fleet.skills)}
        except SeedCoreError as error:
            organism["reason"] = error.detail
        organism["http_fallbacks"] = self._organism.counts.fallbacks
        policy = self._policy.health()
        return {
            "ready": bool(database["ready"] and organism["ready"] and policy["policy"]["ready"]),
            "postgres": database,
            "organism": organism,
            "reports": {"dropped": self._learner.dropped_reports},
            "publishing": self._publisher.health(),
            "incidents": self._incidents.health(),
            **policy,
        }


CoordinatorDeployment = serve.deployment(name="CoordinatorService")(serve.ingress()(CoordinatorService))
