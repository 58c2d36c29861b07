"""The Coordinator's Serve deployment."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Annotated, Any
from uuid import UUID

from fastapi import Body, FastAPI, Request
from ray import serve

from seedcore.coordinator.ledger_writer import EnergyBook
from seedcore.coordinator.policy_runtime import Judgement, columns_of
from seedcore.coordinator.triage.actions import Act, Tools, load_actions
from seedcore.coordinator.triage.repository import TriageStore
from seedcore.coordinator.triage.run_triage import Triage, page, triage_id
from seedcore.coordinator.triage.webhooks import Webhooks
from seedcore.decision.agent_selection import Choices
from seedcore.decision.decide import decide, decide_columns, records, sent
from seedcore.decision.fleet_table import Fleet
from seedcore.errors import DeadlineError, SeedCoreError, UnavailableError
from seedcore.fleet.learned_rates import PAGE, rates_of
from seedcore.schemas.coordinator import (
    CalibrateRequest,
    DecideBatch,
    DecideColumns,
    DecideRequest,
    DecisionColumns,
    Decisions,
    ExecuteRequest,
    Question,
    TaskColumns,
)
from seedcore.schemas.triage import TriageQuery, TriageRequest
from seedcore.service_clients.cognitive_client import CognitiveClient
from seedcore.service_clients.ml_client import MLClient
from seedcore.service_clients.organism_client import OrganismClient
from seedcore.skills.registry import SkillRegistry
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.tasks import queries
from seedcore.tasks.events.task_feed import EventFeed
from seedcore.tasks.plans.recipes import recipes
from seedcore.tasks.submission.validate import Submission
from seedcore.tasks.task_json import task_json
from seedcore.web.authentication import approver_of
from seedcore.web.service_base import Operation, ServiceBase

FLEET_TTL_S = 1.0


class CoordinatorService(ServiceBase):
    """Decides for batches of tasks; submits and waits for single ones."""

    name = "coordinator"

    async def start(self) -> None:
        """Connect lazily; nothing is asked before the first request."""
        self._fleet = Fleet()
        self._choices = Choices(
            self.settings.energy_v,
            self.settings.scout_share,
            self.settings.router,
            money=self.settings.energy_money,
            bytes_per_s=self.settings.data_bytes_per_s,
        )
        self._organism = OrganismClient(self.settings, timeout_s=5)
        self._database = Database(self.settings, name="seedcore-coordinator")
        self._book = EnergyBook(self._database, self._choices, self.settings)
        actions = load_actions(self.settings)
        self._judgement = Judgement(self.settings, self._database, actions)
        self._judgement.start()
        self._feed = EventFeed(self._database)
        self._submission = Submission(self.settings, SkillRegistry.load(self.settings))
        self._ml, self._mind = MLClient(self.settings, timeout_s=15), CognitiveClient(self.settings, timeout_s=10)
        self._triage = self._make_triage(actions)
        self._fleet_at = float("-inf")
        self._remembering: asyncio.Task[None] | None = None
        self._fleet_lock = asyncio.Lock()
        self._decided: dict[str, int] = {}
        self._batches = 0
        self._dropped = 0

    def _make_triage(self, actions: Mapping[str, Act]) -> Triage:
        judgement, webhooks = self._judgement, Webhooks(self.settings.webhook_urls)
        tools = Tools(self._database, judgement.holds, judgement.tending, self._submission, webhooks)
        store = TriageStore(self._database, self.settings.retention_dead_d * 86_400)
        return Triage(self._ml, self._mind, judgement, tools, actions, store)

    async def stop(self) -> None:
        """Close connections."""
        await self._triage.aclose()
        await self._ml.aclose()
        await self._mind.aclose()
        if self._remembering is not None:
            self._remembering.cancel()
            await asyncio.gather(self._remembering, return_exceptions=True)
        await self._judgement.aclose()
        await self._book.aclose()
        await self._feed.aclose()
        await self._database.aclose()
        await self._organism.aclose()

    def operations(self) -> Sequence[Operation]:
        """What the Coordinator does."""
        return [
            Operation("POST", "/decide", self.decide, DecideRequest, summary="Show a decision without acting"),
            Operation("POST", "/decide-batch", self.decide_batch, DecideBatch, summary="A dispatcher's question"),
            Operation("POST", "/decide-columns", self.decide_columns, DecideColumns, summary="The same by columns"),
            Operation("POST", "/route-and-execute", self.route_and_execute, ExecuteRequest, summary="Run and wait"),
            Operation(
                "POST", "/anomaly-triage", self.anomaly_triage, TriageRequest, summary="Look, reason, decide, act"
            ),
            Operation("GET", "/triage", self.triages, TriageQuery, summary="Triages that were made"),
            Operation("GET", "/recipes", self.recipes, summary="Plans that are run without asking for one"),
            Operation("GET", "/metrics", self.metrics, summary="What was decided"),
            Operation("GET", "/policy", self.policy, summary="The policy in force"),
            Operation("POST", "/policy/reload", self.reload_policy, summary="Read the policy file again"),
            Operation("GET", "/valve", self.valve, summary="Every stream's valve"),
        ]

    def extend(self, app: FastAPI) -> None:
        """Single streams by name."""

        @app.post("/valve/{stream:path}/calibrate")
        async def calibrate(stream: str, request: Annotated[CalibrateRequest | None, Body()] = None) -> dict[str, Any]:
            """Learn from the newest observations; the answer holds the ARL₀ that a rehearsal on them achieved."""
            asked = request or CalibrateRequest()
            return await self._judgement.tending.calibrate(stream, asked.arl0, asked.seed)

        @app.post("/valve/{stream:path}/release")
        async def release(stream: str, request: Request) -> dict[str, Any]:
            """End a hold of the stream; 403 when there are approvers, and the key is none of theirs."""
            approver_of(request, self.settings.approvers)
            return await self._judgement.holds.release(stream)

        @app.get("/triage/{triage_id}")
        async def get_triage(triage_id: UUID) -> dict[str, Any]:
            """All that a triage saw, reasoned, decided and did."""
            return await self._triage.store.get(triage_id)

    async def anomaly_triage(self, request: TriageRequest) -> dict[str, Any]:
        """Find what stands out, reason about it, decide, and do what the policy allows; all of it is recorded."""
        return await self._triage.run(request)

    async def triages(self, request: TriageQuery) -> dict[str, Any]:
        """Triages, the newest first, without their details; `next_cursor` is null on the last page."""
        before = None if request.cursor is None else triage_id(request.cursor)
        return page(await self._triage.store.find(request.stream, before, request.limit + 1), request.limit)

    async def policy(self) -> dict[str, Any]:
        """The rules in the order in which they are tried, their version, and which of them failed how often."""
        return self._judgement.policy()

    async def reload_policy(self) -> dict[str, Any]:
        """Read the policy file again; a wrong one answers 422, and the one before stays in force."""
        return self._judgement.reload()

    async def valve(self) -> dict[str, Any]:
        """Every stream: learning, closed or open, its evidence, and what it was calibrated to."""
        return self._judgement.valves()

    async def decide(self, request: DecideRequest) -> Decisions:
        """What would be decided for these tasks now; nothing is changed."""
        fleet = await self._get_fleet()
        await self._judgement.ready()
        considered = self._judgement.consider(columns_of(request.tasks), fleet)
        decisions = decide(request.tasks, fleet, self._choices.dry(), considered)
        return Decisions(decisions=decisions, fleet_epoch=fleet.epoch)

    async def decide_batch(self, request: DecideBatch) -> Decisions:
        """Learn from what the dispatcher tells, then decide for its batch."""
        answer = await self._decide(request, columns_of(request.tasks))
        return Decisions(decisions=records(answer), fleet_epoch=answer.fleet_epoch)

    async def decide_columns(self, request: DecideColumns) -> DecisionColumns:
        """`decide_batch` for large batches: tasks and decisions go by columns."""
        return await self._decide(request, request.tasks)

    async def _decide(self, request: Question, tasks: TaskColumns) -> DecisionColumns:
        fleet = await self._learn(request)
        await self._judgement.ready()
        considered = self._judgement.consider(tasks, fleet)
        answer = decide_columns(tasks.type, fleet, self._choices, considered, tasks.approved, tasks.data)
        fleet.decided(request.asker, request.question, sent(answer))
        counts: Counter[tuple[str | None, str]] = Counter()
        for place, count in Counter(answer.verdict).items():
            verdict = answer.verdicts[place]
            counts[verdict.route, verdict.rule] += count
        self._count(counts)
        self._judgement.decided(counts)
        return answer

    async def _learn(self, request: Question) -> Fleet:
        fleet = await self._get_fleet()
        for outcome in request.outcomes:
            fleet.learn(outcome.agent, outcome.type, outcome.count, outcome.seconds, outcome.successes)
        for spent in request.spent:
            fleet.spending.add(spent.agent, spent.type, spent.count, spent.money)
        self._dropped += request.dropped
        self._book.take(request.energy, fleet)
        self._judgement.take(request.streams, request.unplanned)
        fleet.report(request.asker, [(o.agent, o.type, o.count) for o in request.outstanding], request.undecided)
        return fleet

    def _count(self, decided: Mapping[tuple[str | None, str], int]) -> None:
        self._batches += 1
        for (route, rule), count in decided.items():
            key = f"{route or 'wait'}:{rule}"
            self._decided[key] = self._decided.get(key, 0) + count

    async def route_and_execute(self, request: ExecuteRequest) -> bytes:
        """Submit a task, wait for its end, and answer with the ended task, whatever its end.

        Raises:
            DeadlineError: it did not end in time; it goes on, and the problem document holds its id.
        """
        fields = request.model_dump(exclude={"wait_s"}, exclude_unset=True)
        async with self._database.connection() as connection:
            _, submitted = await self._submission.one(connection, fields)
        wait_s = min(request.wait_s or self.settings.route_wait_s, self.settings.request_timeout_s - 1)
        if not await self._feed.wait_ended(submitted.id, wait_s):
            raise DeadlineError(
                f"Task {submitted.id} has not ended within {wait_s:g} s; follow GET /api/v1/tasks/{submitted.id}.",
                id=str(submitted.id),
            )
        async with self._database.connection() as connection:
            return task_json(await queries.get(connection, submitted.id))

    async def recipes(self) -> dict[str, Any]:
        """Every recipe, those withdrawn among them, and how its runs ended."""
        return {"items": await recipes(self._database)}

    async def metrics(self) -> dict[str, Any]:
        """Counts since this replica started."""
        return {
            "batches": self._batches,
            "decisions": dict(self._decided),
            "router": self._choices.router,
            "energy_v": self._choices.v,
            "unplanned": self._judgement.unplanned,
            "dropped_reports": self._dropped,
            "data_places_over_limit": self._choices.uncounted,
            "ledger": self._book.counts,
            "fleet_epoch": self._fleet.epoch,
            "triage": self._triage.counts,
        }

    async def health(self) -> Mapping[str, Any]:
        """Ready when the database answers and a routing table is there."""
        database = await self._database.ready()
        try:
            fleet = await self._get_fleet()
            organism: dict[str, Any] = {"ready": True, "epoch": fleet.epoch, "skills": len(fleet.skills)}
        except SeedCoreError as error:
            organism = {"ready": False, "reason": error.detail}
        counts = self._organism.counts
        organism["http_fallbacks"] = counts.fallbacks
        judgement = self._judgement.health()
        ready = database["ready"] and organism["ready"] and judgement["policy"]["ready"]
        reports = {"dropped": self._dropped}
        return {"ready": ready, "postgres": database, "organism": organism, "reports": reports, **judgement}

    async def _get_fleet(self) -> Fleet:
        """The fleet, its table at most FLEET_TTL_S old; an older one serves while the Organism restarts."""
        if time.monotonic() - self._fleet_at > FLEET_TTL_S:
            async with self._fleet_lock:
                if time.monotonic() - self._fleet_at > FLEET_TTL_S:
                    await self._refresh()
        return self._fleet

    async def _refresh(self) -> None:
        try:
            self._fleet.update(await self._organism.fleet(self._fleet.epoch or None))
        except SeedCoreError as error:
            if self._fleet.epoch == 0:
                raise UnavailableError(f"No routing table yet: {error.detail}", retry_after_s=1) from error
            self.log.warning("routing table is old", epoch=self._fleet.epoch, reason=error.detail)
        self._fleet_at = time.monotonic()
        if self._fleet.new_agents and (self._remembering is None or self._remembering.done()):
            self._remembering = asyncio.create_task(self._remember(), name="remember")

    async def _remember(self) -> None:
        """Read what the table's new agents had learned, beside the decisions: they count as average until then."""
        try:
            while self._fleet.new_agents:
                page = list(islice(self._fleet.new_agents, PAGE))
                self._fleet.remember(page, await rates_of(self._database, page))
        except DATABASE_ERRORS as error:
            # They stay new: the next table is the next try.
            self.log.warning("what agents had learned is not known yet", reason=f"{type(error).__name__}: {error}")


CoordinatorDeployment = serve.deployment(name="CoordinatorService")(serve.ingress()(CoordinatorService))
