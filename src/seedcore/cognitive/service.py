"""The Serve deployment of the Cognitive service."""

import asyncio
import time
from collections.abc import Mapping, Sequence

from ray import serve

from seedcore.cognitive.engines.offline.expected_loss import Choice, Option, Requirement, choose
from seedcore.cognitive.engines.offline.planner import SearchBounds, find_plan
from seedcore.cognitive.engines.offline.reasoning import reason
from seedcore.cognitive.evidence_reader import EvidenceReader, response
from seedcore.cognitive.moves.escalations import Escalations
from seedcore.cognitive.moves.move_memory import MoveMemory
from seedcore.cognitive.plan_answers import PlanAnswers, skills_digest
from seedcore.errors import InvalidInputError, OverloadedError
from seedcore.llm.embedding.embedder import make_embedder
from seedcore.llm.upstream import upstream_health
from seedcore.memory.long_term.store import MemoryStore
from seedcore.memory.long_term_jobs import LongTermJobs
from seedcore.memory.memory_jobs import MemoryJobs
from seedcore.memory.working.working_memory import WorkingMemory
from seedcore.schemas.cognitive.decisions import (
    DecisionChangeOut,
    MakeDecisionRequest,
    MakeDecisionResponse,
    OptionIn,
    OptionOut,
)
from seedcore.schemas.cognitive.failures import ReasonRequest, ReasonResponse
from seedcore.schemas.cognitive.planning import PlanStep, PlanTaskRequest, PlanTaskResponse
from seedcore.service_clients.coordinator_client import CoordinatorClient
from seedcore.settings import Settings
from seedcore.skills import SkillRegistry
from seedcore.skills.signatures import Signature, signatures
from seedcore.stores.leading.leader_loop import LeaderLoop
from seedcore.stores.postgres import Database
from seedcore.tasks.plans.plan import PlanDefinition
from seedcore.web.service_base import Operation, ServiceBase

COORDINATOR_TIMEOUT_S = 5.0
"""Longest wait for the state of a stream's valve; reasoning continues without it."""


class CognitiveService(ServiceBase):
    """Finds plans, ranks causes of failures, and chooses among options."""

    name = "CognitiveService"

    def __init__(
        self, args: Mapping[str, object] | None = None, settings: Settings | None = None, *, background: bool = True
    ) -> None:
        """`background`: let one replica do the jobs of memory; off in tests of single operations."""
        super().__init__(args, settings)
        self._background = background
        self._skills: dict[str, Signature] = {}
        self._coordinator = CoordinatorClient(self.settings, timeout_s=COORDINATOR_TIMEOUT_S)
        self._reader = EvidenceReader(self.settings, self._coordinator.valve)
        self._inflight = 0
        database = self._reader.database
        self._working = WorkingMemory(self.settings)
        self._plans, self._digest = PlanAnswers(self._working), ""
        self._memory_jobs = MemoryJobs(self.settings, database)
        memories = MemoryStore(database, make_embedder(self.settings))
        self._escalations = Escalations(self.settings, database, MoveMemory(memories), self._working)
        self._long_term = LongTermJobs(self.settings)
        jobs = [*self._memory_jobs.jobs(), *self._long_term.jobs(), *self._escalations.jobs()]
        self._leader = LeaderLoop(database, "memory", jobs)

    def own_database(self) -> Database:
        """The pool that keys are looked up and metrics are written through."""
        return self._reader.database

    def operations(self) -> Sequence[Operation]:
        """Planning, reasoning and deciding; operations that need a language model are not implemented yet."""
        return (
            Operation("POST", "/plan-task", self.plan_task, PlanTaskRequest, summary="Find a plan for a goal"),
            Operation(
                "POST", "/reason-about-failure", self.reason, ReasonRequest, summary="Rank what may be the cause"
            ),
            Operation("POST", "/make-decision", self.make_decision, MakeDecisionRequest, summary="Choose an option"),
        )

    async def start(self) -> None:
        """Load the signatures of the skills."""
        registry = await asyncio.to_thread(SkillRegistry.load, self.settings)
        self._skills = signatures(registry.values())
        self._digest = skills_digest(self._skills)
        if self._background:
            self._leader.start()

    async def stop(self) -> None:
        """Close connections."""
        await self._leader.stop()
        await self._memory_jobs.aclose()
        await self._long_term.aclose()
        await self._working.close()
        await self._reader.aclose()
        await self._coordinator.aclose()

    async def health(self) -> Mapping[str, object]:
        """Ready when the skills are known."""
        return {
            "ready": bool(self._skills),
            "skills": len(self._skills),
            "inflight": self._inflight,
            "llm_provider": self.settings.llm_provider,
            "llm": upstream_health(self.settings),
            "working_memory": self._working.health(),
            "flashbulbs": self._memory_jobs.flashbulbs.last_known(),
            "escalations": self._escalations.health(),
            "memory": await self._long_term.health() if self._background else None,
            "leader": self._leader.health(),
        }

    async def plan_task(self, request: PlanTaskRequest) -> PlanTaskResponse:
        """Find the cheapest DAG of skills that reaches the goal from the inputs, by search over their types."""
        limit = self.settings.max_plan_steps
        if request.max_steps is not None and request.max_steps > limit:
            raise InvalidInputError.for_field("max_steps", f"must be at most {limit} (MAX_PLAN_STEPS)")
        if unknown := sorted(set(request.done.values()) - set(self._skills)):
            raise InvalidInputError.for_field("done", f"no skill {unknown[0]!r}")
        moved = await self._escalations.plan(request, self._skills)
        if moved is not None:
            return moved
        return await self._plans.get_or_make(request, self._digest, lambda: self._search(request))

    async def _search(self, request: PlanTaskRequest) -> PlanTaskResponse:
        if self._inflight >= self.settings.cognitive_max_inflight:
            raise OverloadedError(
                f"{self._inflight} plans are being made already (COGNITIVE_MAX_INFLIGHT).", retry_after_s=1
            )
        limit = self.settings.max_plan_steps
        deadline = time.monotonic() + self.settings.cognitive_timeout_s
        bounds = SearchBounds(request.max_steps or limit, deadline)
        self._inflight += 1
        try:
            plan = await asyncio.to_thread(
                find_plan,
                request.goal,
                request.inputs,
                self._skills,
                bounds,
                self.settings.llm_provider,
                without=request.without,
                done=request.done,
            )
        finally:
            self._inflight -= 1
        return answer(plan)

    async def reason(self, request: ReasonRequest) -> ReasonResponse:
        """Possible causes of a failure, ranked by how much better than chance each explains the task history."""
        gathered = await self._reader.read(request)
        return response(request, gathered, reason(gathered.evidence))

    async def make_decision(self, request: MakeDecisionRequest) -> MakeDecisionResponse:
        """The option with the least expected loss whose requirements are met, and what would change the choice."""
        choice = choose([_option(option) for option in request.options], request.beliefs, request.facts)
        return _decision(choice)


def _option(given: OptionIn) -> Option:
    requires = tuple(Requirement(r.fact, r.op, r.value) for r in given.requires)
    return Option(given.name, given.cost, given.losses, given.otherwise, requires)


def _decision(choice: Choice) -> MakeDecisionResponse:
    best = choice.chosen
    return MakeDecisionResponse(
        decision=best.option.name,
        expected_loss=best.expected_loss,
        margin=choice.margin,
        beliefs=dict(choice.beliefs),
        options=[
            OptionOut(
                name=evaluated.option.name,
                expected_loss=evaluated.expected_loss,
                cost=evaluated.option.cost,
                losses={name: evaluated.option.loss(name) for name in choice.beliefs},
                unmet=list(evaluated.unmet),
            )
            for evaluated in choice.options
        ],
        would_change=[
            DecisionChangeOut(
                option=change.option,
                hypothesis=change.hypothesis,
                belief=change.belief,
                needed=change.needed,
                unmet=list(change.unmet),
            )
            for change in choice.changes
        ],
    )


def answer(plan: PlanDefinition) -> PlanTaskResponse:
    """The plan as it goes over the wire."""
    steps = [PlanStep(id=s.id, skill=s.skill, params=s.params, needs=list(s.needs)) for s in plan.steps]
    return PlanTaskResponse(steps=steps, output=plan.output, cost=plan.cost, explored=plan.explored)


CognitiveDeployment = serve.deployment(name="CognitiveService")(serve.ingress()(CognitiveService))
