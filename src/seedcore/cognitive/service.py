"""The Serve deployment of the Cognitive service."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from pydantic import BaseModel
from ray import serve

from seedcore.cognitive.engines.engine import Asker
from seedcore.cognitive.engines.engine_router import EngineRouter
from seedcore.cognitive.engines.llm.llm_engine import LlmEngine
from seedcore.cognitive.engines.offline.learned_costs import with_learned_costs
from seedcore.cognitive.engines.offline.offline_engine import OfflineEngine
from seedcore.cognitive.evidence_reader import EvidenceReader
from seedcore.cognitive.knowledge import Knowledge
from seedcore.cognitive.moves.escalations import Escalations
from seedcore.cognitive.moves.move_memory import MoveMemory
from seedcore.cognitive.plan_answers import PlanAnswers, skills_digest
from seedcore.cognitive.skill_statistics import SkillStatistics
from seedcore.errors import ForbiddenError, InvalidInputError, OverloadedError
from seedcore.llm.chat_client import ChatClient
from seedcore.llm.embedding.embedder import make_embedder
from seedcore.llm.upstream import missing_upstream, upstream_health
from seedcore.memory.facts.fact_store import FactStore
from seedcore.memory.long_term.store import MemoryStore
from seedcore.memory.long_term_jobs import LongTermJobs
from seedcore.memory.memory_jobs import MemoryJobs
from seedcore.memory.working.kept_embedder import KeptEmbedder
from seedcore.memory.working.working_memory import WorkingMemory
from seedcore.schemas.cognitive.capabilities import AssessCapabilitiesRequest, AssessCapabilitiesResponse
from seedcore.schemas.cognitive.decisions import MakeDecisionRequest, MakeDecisionResponse
from seedcore.schemas.cognitive.engine_answer import EngineAnswer, OnBehalf
from seedcore.schemas.cognitive.failures import ReasonRequest, ReasonResponse
from seedcore.schemas.cognitive.memory_synthesis import SynthesizeMemoryRequest, SynthesizeMemoryResponse
from seedcore.schemas.cognitive.planning import PlanTaskRequest, PlanTaskResponse
from seedcore.schemas.cognitive.problem_solving import SolveProblemRequest, SolveProblemResponse
from seedcore.service_clients.coordinator_client import CoordinatorClient
from seedcore.settings import Settings
from seedcore.skills import SkillRegistry
from seedcore.skills.signatures import Signature, signatures
from seedcore.stores.leading.leader_loop import LeaderLoop
from seedcore.stores.postgres import Database
from seedcore.tasks.plans.free_text import is_free_text
from seedcore.tasks.submission.tenancy import HERE, Origin
from seedcore.web.access.caller import ANONYMOUS, Caller
from seedcore.web.access.request_origin import tenant_of
from seedcore.web.service_base import Operation, ServiceBase

Answer = TypeVar("Answer", bound=EngineAnswer)

COORDINATOR_TIMEOUT_S = 5.0
"""Longest wait for the state of a stream's valve; reasoning continues without it."""


class CognitiveService(ServiceBase):
    """Plans, reasons about failures, decides, solves problems, reads memory and finds gaps, by either engine."""

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
        self._embedder = KeptEmbedder(make_embedder(self.settings, database), self._working)
        memories = MemoryStore(database, self._embedder)
        self._statistics = SkillStatistics(database, reads=background)
        self._descriptions: dict[str, str] = {}
        self._chat: ChatClient | None = None
        self._engines = self._make_engines(Knowledge(memories, FactStore(database)))
        self._escalations = Escalations(self.settings, database, MoveMemory(memories), self._working)
        self._long_term = LongTermJobs(self.settings, database, self._embedder, memories)
        jobs = [*self._memory_jobs.jobs(), *self._long_term.jobs(), *self._escalations.jobs()]
        self._leader = LeaderLoop(database, "memory", jobs)

    def _make_engines(self, knowledge: Knowledge) -> EngineRouter:
        def skills() -> Mapping[str, Signature]:
            return self._skills

        why = missing_upstream(self.settings)
        offline = OfflineEngine(self.settings, skills, self._reader, self._statistics, knowledge)
        llm = None
        if why is None:
            self._chat = ChatClient(self.settings, self._reader.database)
            llm = LlmEngine(self.settings, self._chat, offline, knowledge, skills, lambda: self._descriptions)
        return EngineRouter(offline, llm, skills, why)

    def own_database(self) -> Database:
        """The pool that keys are looked up and metrics are written through."""
        return self._reader.database

    def operations(self) -> Sequence[Operation]:
        """The six operations; each answer says which engine gave it."""

        def post(
            path: str, handler: Callable[..., Awaitable[object]], kind: type[BaseModel], summary: str
        ) -> Operation:
            return Operation("POST", path, handler, kind, summary=summary, submits=True)

        return (
            post("/plan-task", self.plan_task, PlanTaskRequest, "Find a plan for a goal"),
            post("/reason-about-failure", self.reason, ReasonRequest, "Rank what may be the cause"),
            post("/make-decision", self.make_decision, MakeDecisionRequest, "Choose an option"),
            post(
                "/solve-problem", self.solve_problem, SolveProblemRequest, "Answer a problem in words, or plan for it"
            ),
            post("/synthesize-memory", self.synthesize_memory, SynthesizeMemoryRequest, "Say what memory says"),
            post("/assess-capabilities", self.assess_capabilities, AssessCapabilitiesRequest, "Find what is missing"),
        )

    async def start(self) -> None:
        """Load the signatures of the skills."""
        registry = await asyncio.to_thread(SkillRegistry.load, self.settings)
        self._skills = signatures(registry.values())
        self._descriptions = {spec.name: spec.description for spec in registry.values()}
        self._digest = skills_digest(self._skills)
        if self._background:
            self._leader.start()

    async def stop(self) -> None:
        """Close connections."""
        await self._leader.stop()
        await self._memory_jobs.aclose()
        await self._statistics.aclose()
        if self._chat is not None:
            await self._chat.aclose()
        await self._embedder.aclose()
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
            "llm": upstream_health(self.settings) if self._chat is None else self._chat.health(),
            "engines": self._engines.health(),
            "costs": self._statistics.health(),
            "working_memory": self._working.health(),
            "flashbulbs": self._memory_jobs.flashbulbs.last_known(),
            "escalations": self._escalations.health(),
            "memory": await self._long_term.health() if self._background else None,
            "leader": self._leader.health(),
        }

    async def plan_task(
        self, request: PlanTaskRequest, *, origin: Origin = HERE, caller: Caller = ANONYMOUS
    ) -> PlanTaskResponse:
        """A plan for a goal: names are searched for over the skills' types, free text is read by a language model."""
        limit = self.settings.max_plan_steps
        if request.max_steps is not None and request.max_steps > limit:
            raise InvalidInputError.for_field("max_steps", f"must be at most {limit} (MAX_PLAN_STEPS)")
        if unknown := sorted(set(request.done.values()) - set(self._skills)):
            raise InvalidInputError.for_field("done", f"no skill {unknown[0]!r}")
        asker = _asker(request, origin, caller)
        recalls = request.engine == "llm" or is_free_text(request.goal, request.inputs, self._skills)
        if request.escalation is not None and caller.tenant is not None:
            # A stream's counts are of the tasks of all tenants.
            raise ForbiddenError("`escalation` is for callers who see all tenants: leave it out.")
        if recalls or request.escalation is not None:
            _check_payloads(caller)
        if request.escalation is not None:
            skills = with_learned_costs(self._skills, await self._statistics.known())
            moved = await self._escalations.plan(request, skills)
            if moved is not None:
                return moved

        async def make() -> PlanTaskResponse:
            with self._place():
                return await self._engines.plan_task(request, asker)

        answer = await (make() if recalls else self._plans.get_or_make(request, self._digest, make))
        return _of_tenant(answer, caller)

    async def reason(
        self, request: ReasonRequest, *, origin: Origin = HERE, caller: Caller = ANONYMOUS
    ) -> ReasonResponse:
        """Possible causes of a failure, ranked by how much better than chance each explains the task history."""
        if request.engine == "llm":
            _check_payloads(caller)
        with self._place():
            return await self._engines.reason_about_failure(request, _asker(request, origin, caller))

    async def make_decision(
        self, request: MakeDecisionRequest, *, origin: Origin = HERE, caller: Caller = ANONYMOUS
    ) -> MakeDecisionResponse:
        """The option with the least expected loss whose requirements are met, and what would change the choice."""
        if request.engine == "llm":
            _check_payloads(caller)
        with self._place():
            return await self._engines.make_decision(request, _asker(request, origin, caller))

    async def solve_problem(
        self, request: SolveProblemRequest, *, origin: Origin = HERE, caller: Caller = ANONYMOUS
    ) -> SolveProblemResponse:
        """An answer to a problem in words, a plan for it, or both. Nothing is run: submit the plan to run it."""
        limit = self.settings.max_plan_steps
        if request.max_steps is not None and request.max_steps > limit:
            raise InvalidInputError.for_field("max_steps", f"must be at most {limit} (MAX_PLAN_STEPS)")
        _check_payloads(caller)
        with self._place():
            answer = await self._engines.solve_problem(request, _asker(request, origin, caller))
        return _of_tenant(answer, caller)

    async def synthesize_memory(
        self, request: SynthesizeMemoryRequest, *, origin: Origin = HERE, caller: Caller = ANONYMOUS
    ) -> SynthesizeMemoryResponse:
        """What the memories of a tenant say about a query; each statement cites memories by id."""
        _check_payloads(caller)
        with self._place():
            return await self._engines.synthesize_memory(request, _asker(request, origin, caller))

    async def assess_capabilities(
        self, request: AssessCapabilitiesRequest, *, origin: Origin = HERE, caller: Caller = ANONYMOUS
    ) -> AssessCapabilitiesResponse:
        """What is asked for and cannot be done: rejected types, goals without plan, failing skills, missing fields."""
        _check_payloads(caller)
        with self._place():
            return await self._engines.assess_capabilities(request, _asker(request, origin, caller))

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._inflight >= self.settings.cognitive_max_inflight:
            raise OverloadedError(
                f"{self._inflight} answers are being made already (COGNITIVE_MAX_INFLIGHT).", retry_after_s=1
            )
        self._inflight += 1
        try:
            yield
        finally:
            self._inflight -= 1


def _asker(request: OnBehalf, origin: Origin, caller: Caller) -> Asker:
    """For whom a request works. A caller of a tenant works for it; others name one, or the header's is meant.

    Raises:
        ForbiddenError: the caller's key belongs to another tenant.
    """
    if caller.tenant is not None:
        return Asker(tenant_of(caller, request.tenant), caller.by)
    tenant = request.tenant or origin.tenant
    return Asker(tenant, caller.by, request.plan_id, request.plan_tokens, request.plan_money)


def _check_payloads(caller: Caller) -> None:
    """Refuse an answer that rests on memory, facts or goals, which say what tasks carry.

    Raises:
        ForbiddenError: the caller's key may not see that.
    """
    if not caller.payloads:
        raise ForbiddenError("Your key may not see what tasks carry, nor what is remembered of it.")


def _of_tenant(answer: Answer, caller: Caller) -> Answer:
    """The answer, without counts over the tasks of all tenants for a caller of one."""
    if caller.tenant is None:
        return answer
    return answer.model_copy(update={"evidence": [item for item in answer.evidence if item.kind != "statistic"]})


CognitiveDeployment = serve.deployment(name="CognitiveService")(serve.ingress()(CognitiveService))
