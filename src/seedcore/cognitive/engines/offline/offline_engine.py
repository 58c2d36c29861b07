"""The engine without a language model: search, Bayes factors, expected loss, statistics, and memory's own sentences."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from seedcore.cognitive.engines.engine import Asker
from seedcore.cognitive.engines.offline.cheapest_actions import SearchBounds
from seedcore.cognitive.engines.offline.decision_answer import decide
from seedcore.cognitive.engines.offline.learned_costs import SkillRecord, evidence_of, with_learned_costs
from seedcore.cognitive.engines.offline.past_plans import goals_of_past_plans
from seedcore.cognitive.engines.offline.planner import find_plan
from seedcore.cognitive.engines.offline.reasoning import reason
from seedcore.cognitive.engines.offline.synthesis import Source, synthesize
from seedcore.cognitive.engines.offline.text_goals import goals_in_text
from seedcore.cognitive.engines.plan_check import check_plan
from seedcore.cognitive.evidence_reader import EvidenceReader, response
from seedcore.cognitive.gap_reader import GapReader
from seedcore.cognitive.knowledge import Knowledge, Recalled, memory_evidence
from seedcore.cognitive.skill_statistics import SkillStatistics
from seedcore.errors import FieldError, InvalidInputError, NoPlanError
from seedcore.llm.model_errors import LlmNotConfiguredError
from seedcore.schemas.cognitive.capabilities import AssessCapabilitiesRequest, AssessCapabilitiesResponse
from seedcore.schemas.cognitive.decisions import MakeDecisionRequest, MakeDecisionResponse
from seedcore.schemas.cognitive.engine_answer import EngineName, EvidenceOut
from seedcore.schemas.cognitive.failures import ReasonRequest, ReasonResponse
from seedcore.schemas.cognitive.memory_synthesis import SynthesizeMemoryRequest, SynthesizeMemoryResponse
from seedcore.schemas.cognitive.planning import PlanStep, PlanTaskRequest, PlanTaskResponse
from seedcore.schemas.cognitive.problem_solving import SolutionPlan, SolveProblemRequest, SolveProblemResponse
from seedcore.settings import Settings
from seedcore.skills.signatures import Signature
from seedcore.tasks.plans.free_text import is_free_text
from seedcore.tasks.plans.plan import PlanDefinition

Skills = Callable[[], Mapping[str, Signature]]


class OfflineEngine:
    """Answers from what is computed alone. `skills` gives the skills that plans may use."""

    def __init__(
        self,
        settings: Settings,
        skills: Skills,
        reader: EvidenceReader,
        statistics: SkillStatistics,
        knowledge: Knowledge,
    ) -> None:
        self._settings, self._skills, self._reader = settings, skills, reader
        self._statistics, self._knowledge = statistics, knowledge
        self._gaps = GapReader(settings, reader.database)

    @property
    def name(self) -> EngineName:
        """`offline`."""
        return "offline"

    async def plan_task(self, request: PlanTaskRequest, asker: Asker) -> PlanTaskResponse:
        """The cheapest DAG of skills that reaches the goal from the inputs, at costs that outcomes taught.

        Raises:
            NoPlanError: there is none; the detail says what is missing.
            LlmNotConfiguredError: the goal is free text.
        """
        if is_free_text(request.goal, request.inputs, self._skills()):
            raise LlmNotConfiguredError(
                "A goal in free text needs a language model: set LLM_PROVIDER, or name output fields or skills.",
                errors=[FieldError("goal", "must name output fields or skills while there is no language model")],
            )
        return await self._plan(request, request.goal)

    async def plan_text(self, request: PlanTaskRequest, asker: Asker) -> PlanTaskResponse:
        """A plan for a goal in free text: that of a past goal that reads alike, else for the names in the text.

        Raises:
            NoPlanError: the text is like no past goal and names nothing that a plan reaches.
        """
        text = request.goal if isinstance(request.goal, str) else request.goal[0]
        skills = {name: skill for name, skill in self._skills().items() if name not in request.without}
        recalled = await self._knowledge.recall(text, asker.tenant)
        past = goals_of_past_plans(recalled.memories, skills)
        for memory, goals in past:
            try:
                found = await self._plan(request, goals, method="past_plan")
            except InvalidInputError:
                continue
            evidence = [memory_evidence(memory), *found.evidence]
            return found.model_copy(update={"evidence": evidence, "memory_fallback": recalled.fallback})
        goals = goals_in_text(text, request.inputs, skills)
        if not goals:
            raise NoPlanError(
                "The goal reads like no goal of the past, and names no skill and no output field.",
                errors=[FieldError("goal", "must name output fields or skills")],
                missing=[],
                known=sorted({name for skill in skills.values() for name in skill.results}),
            )
        found = await self._plan(request, goals)
        return found.model_copy(update={"memory_fallback": recalled.fallback})

    async def _plan(
        self, request: PlanTaskRequest, goal: str | Sequence[str], method: str = "search"
    ) -> PlanTaskResponse:
        limit = request.max_steps or self._settings.max_plan_steps
        plan, known = await self._find(goal, request.inputs, limit, request.without, request.done)
        steps = plan_steps(plan)
        return PlanTaskResponse.model_validate(
            {
                "steps": steps,
                "output": plan.output,
                "cost": plan.cost,
                "explored": plan.explored,
                "method": method,
                "evidence": _cost_evidence([step.skill for step in steps], known),
            }
        )

    async def _find(
        self,
        goal: str | Sequence[str],
        inputs: Mapping[str, object],
        max_steps: int,
        without: Sequence[str] = (),
        done: Mapping[str, str] | None = None,
    ) -> tuple[PlanDefinition, Mapping[str, SkillRecord]]:
        known = await self._statistics.known()
        skills = with_learned_costs(self._skills(), known)
        bounds = SearchBounds(max_steps, time.monotonic() + self._settings.cognitive_timeout_s)
        plan = await asyncio.to_thread(find_plan, goal, inputs, skills, bounds, without=without, done=done)
        check_plan(plan, skills, max_steps=max_steps, without=without, done=done)
        return plan, known

    async def reason_about_failure(self, request: ReasonRequest, asker: Asker) -> ReasonResponse:
        """Possible causes of a failure, ranked by how much better than chance each explains the task history."""
        gathered = await self._reader.read(request)
        answer = response(request, gathered, reason(gathered.evidence))
        answer.evidence = [
            EvidenceOut(kind="statistic", text=f"{h.name}: Bayes factor 10^{h.log10_bayes:.2f}", numbers=h.numbers)
            for h in answer.hypotheses
            if h.numbers
        ]
        return answer

    async def make_decision(self, request: MakeDecisionRequest, asker: Asker) -> MakeDecisionResponse:
        """The option with the least expected loss whose requirements are met, and what would change the choice."""
        answer = decide(request)
        answer.evidence = [
            EvidenceOut(kind="statistic", text=f"{name} is believed with {share:.3g}", numbers={"belief": share})
            for name, share in answer.beliefs.items()
        ]
        return answer

    async def solve_problem(self, request: SolveProblemRequest, asker: Asker) -> SolveProblemResponse:
        """A plan for what the problem names or for a past problem like it, and what memory says about it.

        Raises:
            NoPlanError: no name is recognised, and memory has nothing about it.
        """
        recalled = await self._knowledge.recall(request.problem, asker.tenant)
        limit = request.max_steps or self._settings.max_plan_steps
        tries = [goals for _, goals in goals_of_past_plans(recalled.memories, self._skills())]
        named = goals_in_text(request.problem, request.inputs, self._skills())
        missing: dict[str, str] = {}
        plan: PlanDefinition | None = None
        understood = named
        known: Mapping[str, SkillRecord] = {}
        for goals in [*([named] if named else []), *tries]:
            try:
                plan, known = await self._find(goals, request.inputs, limit)
            except InvalidInputError as error:
                missing |= {e.field: e.message for e in error.errors if e.field.startswith("inputs.")}
            else:
                understood = goals
                break
        if plan is None and not understood and not recalled.evidence:
            raise NoPlanError(
                "The problem names no skill and no output field, and memory has nothing about it. "
                "Name what is wanted, or set up a language model (LLM_PROVIDER).",
                errors=[FieldError("problem", "must name a skill or an output field")],
                missing=[],
                known=sorted(self._skills()),
            )
        said = " ".join(statement.text for statement in synthesize(request.problem, _sources(recalled), 3))
        costs = [] if plan is None else _cost_evidence([step.skill for step in plan.steps], known)
        return SolveProblemResponse(
            answer=_answer(plan, understood, missing, said),
            understood=list(understood),
            plan=None if plan is None else SolutionPlan(steps=plan_steps(plan), output=plan.output, cost=plan.cost),
            missing={} if plan is not None else missing,
            evidence=[*recalled.evidence, *costs],
            memory_fallback=recalled.fallback,
        )

    async def synthesize_memory(self, request: SynthesizeMemoryRequest, asker: Asker) -> SynthesizeMemoryResponse:
        """Sentences of memories that say the most about the query, each with the memories that say it."""
        found = await self._knowledge.search(request.query, request.k, asker.tenant, request.scopes, request.tags)
        sources = [Source(str(m.id), m.text, m.score, m.salience) for m in found.items]
        statements = await asyncio.to_thread(synthesize, request.query, sources, request.sentences)
        cited = {cite for statement in statements for cite in statement.cites}
        return SynthesizeMemoryResponse(
            summary=" ".join(statement.text for statement in statements) or "Memory has nothing about this.",
            statements=statements,
            read=len(found.items),
            evidence=[memory_evidence(memory) for memory in found.items if str(memory.id) in cited],
            memory_fallback=found.fallback,
        )

    async def assess_capabilities(self, request: AssessCapabilitiesRequest, asker: Asker) -> AssessCapabilitiesResponse:
        """Gaps between what is asked for and what can be done, from how tasks ended."""
        return await self._gaps.read(request, self._skills())


def plan_steps(plan: PlanDefinition) -> list[PlanStep]:
    """The steps as they go over the wire."""
    return [PlanStep(id=s.id, skill=s.skill, params=s.params, needs=list(s.needs)) for s in plan.steps]


def _cost_evidence(skills: Sequence[str], known: Mapping[str, SkillRecord]) -> list[EvidenceOut]:
    return [
        EvidenceOut(
            kind="statistic",
            id=name,
            text=f"{record.completed} of {record.ends} tasks of {name} completed",
            numbers={"ends": record.ends, "completed": record.completed, "seconds": record.seconds},
        )
        for name, record in evidence_of(skills, known)
    ]


def _sources(recalled: Recalled) -> list[Source]:
    facts = [Source(fact.id or "", fact.text, 1.0) for fact in recalled.facts]
    top = max((memory.score for memory in recalled.memories), default=1.0) or 1.0
    return [*facts, *(Source(str(m.id), m.text, m.score / top, m.salience) for m in recalled.memories)]


def _answer(plan: PlanDefinition | None, goals: Sequence[str], missing: Mapping[str, str], said: str) -> str:
    parts: list[str] = []
    if plan is not None:
        parts.append(f"A plan for {', '.join(goals)}: {' → '.join(step.skill for step in plan.steps)}.")
    elif goals:
        lacking = ", ".join(sorted(name.removeprefix("inputs.") for name in missing))
        parts.append(f"No plan reaches {', '.join(goals)}{f': {lacking} is missing' if lacking else ''}.")
    if said:
        parts.append(f"Memory says: {said}")
    return " ".join(parts)
