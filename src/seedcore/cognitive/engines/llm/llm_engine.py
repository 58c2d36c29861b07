"""The engine that asks a language model. Numbers stay those of the offline engine; the model chooses and words."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel

from seedcore.cognitive.engines.engine import Asker
from seedcore.cognitive.engines.llm import prompts
from seedcore.cognitive.engines.llm.asking import Chat, Spent, ask
from seedcore.cognitive.engines.llm.closed_plans import closed_plan
from seedcore.cognitive.engines.llm.draft_plans import cited, plan_of
from seedcore.cognitive.engines.llm.drafts import (
    AdviceDraft,
    CauseDraft,
    PlanDraft,
    SolutionDraft,
    SummaryDraft,
    SynthesisDraft,
)
from seedcore.cognitive.engines.offline.offline_engine import OfflineEngine, Skills, plan_steps
from seedcore.cognitive.knowledge import Knowledge, memory_evidence
from seedcore.errors import InvalidInputError
from seedcore.llm.chat_types import ChatMessage
from seedcore.schemas.cognitive.capabilities import AssessCapabilitiesRequest, AssessCapabilitiesResponse
from seedcore.schemas.cognitive.decisions import MakeDecisionRequest, MakeDecisionResponse
from seedcore.schemas.cognitive.engine_answer import EngineAnswer, EngineChoice, EngineName, EvidenceOut
from seedcore.schemas.cognitive.failures import ReasonRequest, ReasonResponse
from seedcore.schemas.cognitive.memory_synthesis import Statement, SynthesizeMemoryRequest, SynthesizeMemoryResponse
from seedcore.schemas.cognitive.planning import PlanTaskRequest, PlanTaskResponse
from seedcore.schemas.cognitive.problem_solving import SolutionPlan, SolveProblemRequest, SolveProblemResponse
from seedcore.settings import Settings
from seedcore.tasks.plans.plan import PlanDefinition

Draft = TypeVar("Draft", bound=BaseModel)
Checked = TypeVar("Checked")
Answer = TypeVar("Answer", bound=EngineAnswer)

CAUSE_RULE = (
    "You explain failures. Choose the hypothesis that is likeliest as `likely`, by its name in `hypotheses`, and "
    "explain it in plain words from the numbers given and the evidence. Invent no numbers."
)
ADVICE_RULE = (
    "You advise on a decision. Choose one of `options` by its name as `option`, and say why in plain words. The "
    "decision itself is made by arithmetic; you change nothing."
)
SOLVE_RULE = (
    "You solve problems. Say in `answer`, in plain words, what to do. If skills can do it, give `steps` and `output` "
    "as well; else leave both empty. For steps: "
) + prompts.PLAN_RULE
SYNTHESIS_RULE = (
    "You say what memories say about `query`, in at most `sentences` statements of your own words. Each statement "
    "cites the ids of the evidence that says so. Leave out what the evidence does not say."
)
SUMMARY_RULE = "You summarise gaps in what a system can do, in at most five sentences, the most important first."


class LlmEngine:
    """Answers with a language model.

    Args:
        settings: time-outs and bounds.
        chat: asks the model.
        offline: computes what numbers there are.
        knowledge: memory and facts.
        skills: what plans may use.
        descriptions: what skills say of themselves, by name.
    """

    def __init__(
        self,
        settings: Settings,
        chat: Chat,
        offline: OfflineEngine,
        knowledge: Knowledge,
        skills: Skills,
        descriptions: Callable[[], Mapping[str, str]],
    ) -> None:
        self._settings, self._chat, self._offline = settings, chat, offline
        self._knowledge, self._skills, self._descriptions = knowledge, skills, descriptions

    @property
    def name(self) -> EngineName:
        """`llm`."""
        return "llm"

    async def plan_task(self, request: PlanTaskRequest, asker: Asker, spent: Spent | None = None) -> PlanTaskResponse:
        """A plan that the model drafted and the check let pass."""
        spent = spent or Spent()
        goal = request.goal if isinstance(request.goal, str) else ", ".join(request.goal)
        recalled = await self._knowledge.recall(goal, asker.tenant)
        skills = {name: skill for name, skill in self._skills().items() if name not in request.without}
        limit = request.max_steps or self._settings.max_plan_steps
        messages = prompts.planning(goal, request.inputs, skills, self._descriptions(), recalled.evidence, limit)

        def check(draft: PlanDraft) -> tuple[PlanDefinition, list[EvidenceOut]]:
            plan = plan_of(
                draft.steps,
                draft.output,
                skills,
                request.inputs,
                max_steps=limit,
                said=goal,
                without=request.without,
                done=request.done,
            )
            return plan, cited(draft.cites, recalled.evidence)

        ids = [item.id for item in recalled.evidence[: prompts.MAX_EVIDENCE] if item.id]
        kind = closed_plan(skills, request.inputs, limit, ids, request.done)
        plan, evidence = await self._ask(messages, kind, check, request, asker, spent)
        answer = PlanTaskResponse(
            steps=plan_steps(plan), output=plan.output, cost=plan.cost, explored=spent.calls, method="model"
        )
        return _signed(answer, spent, evidence, recalled.fallback)

    async def reason_about_failure(
        self, request: ReasonRequest, asker: Asker, spent: Spent | None = None
    ) -> ReasonResponse:
        """The ranking of the offline engine, and which cause the model holds true and why."""
        spent = spent or Spent()
        ranked = await self._offline.reason_about_failure(request, asker)
        about = " ".join([ranked.subject.stream or "", *ranked.subject.codes])
        recalled = await self._knowledge.recall(f"incident failure {about}", asker.tenant)
        data = ranked.model_dump(mode="json", include={"subject", "hypotheses", "absent"})
        names = [hypothesis.name for hypothesis in ranked.hypotheses]

        def check(draft: CauseDraft) -> tuple[CauseDraft, list[EvidenceOut]]:
            if draft.likely not in names:
                raise InvalidInputError.for_field("likely", f"must be one of {', '.join(names)}")
            return draft, cited(draft.cites, recalled.evidence)

        messages = prompts.question(CAUSE_RULE, data, recalled.evidence)
        draft, evidence = await self._ask(messages, CauseDraft, check, request, asker, spent)
        ranked.likely, ranked.explanation = draft.likely, draft.explanation
        return _signed(ranked, spent, [*evidence, *ranked.evidence], recalled.fallback)

    async def make_decision(
        self, request: MakeDecisionRequest, asker: Asker, spent: Spent | None = None
    ) -> MakeDecisionResponse:
        """The decision by expected loss, with the model's advice. The advice changes no decision."""
        spent = spent or Spent()
        made = await self._offline.make_decision(request, asker)
        allowed = [option.name for option in made.options if not option.unmet]
        recalled = await self._knowledge.recall(f"decision {' '.join(allowed)}", asker.tenant)
        data = made.model_dump(mode="json", include={"decision", "expected_loss", "beliefs"})
        data["options"] = [option.model_dump(mode="json") for option in made.options if not option.unmet]

        def check(draft: AdviceDraft) -> tuple[AdviceDraft, list[EvidenceOut]]:
            if draft.option not in allowed:
                raise InvalidInputError.for_field("option", f"must be one of {', '.join(allowed)}")
            return draft, cited(draft.cites, recalled.evidence)

        messages = prompts.question(ADVICE_RULE, data, recalled.evidence)
        draft, evidence = await self._ask(messages, AdviceDraft, check, request, asker, spent)
        made.advised, made.advice = draft.option, draft.advice
        return _signed(made, spent, [*evidence, *made.evidence], recalled.fallback)

    async def solve_problem(
        self, request: SolveProblemRequest, asker: Asker, spent: Spent | None = None
    ) -> SolveProblemResponse:
        """The model's answer, and a plan that the check let pass where it gives one."""
        spent = spent or Spent()
        recalled = await self._knowledge.recall(request.problem, asker.tenant)
        limit = request.max_steps or self._settings.max_plan_steps
        skills = self._skills()
        plan_messages = prompts.planning(
            request.problem, request.inputs, skills, self._descriptions(), recalled.evidence, limit
        )
        messages = [ChatMessage("system", f"{SOLVE_RULE} {prompts.DATA_RULE}"), *plan_messages[1:]]

        def check(draft: SolutionDraft) -> tuple[SolutionDraft, PlanDefinition | None, list[EvidenceOut]]:
            plan = None
            if draft.steps or draft.output:
                plan = plan_of(draft.steps, draft.output, skills, request.inputs, max_steps=limit, said=request.problem)
            return draft, plan, cited(draft.cites, recalled.evidence)

        draft, plan, evidence = await self._ask(messages, SolutionDraft, check, request, asker, spent)
        answer = SolveProblemResponse(
            answer=draft.answer,
            understood=[] if plan is None else list(plan.output),
            plan=None if plan is None else SolutionPlan(steps=plan_steps(plan), output=plan.output, cost=plan.cost),
            missing={},
        )
        return _signed(answer, spent, evidence, recalled.fallback)

    async def synthesize_memory(
        self, request: SynthesizeMemoryRequest, asker: Asker, spent: Spent | None = None
    ) -> SynthesizeMemoryResponse:
        """Statements in the model's words, each with memories that it was given."""
        spent = spent or Spent()
        found = await self._knowledge.search(request.query, request.k, asker.tenant, request.scopes, request.tags)
        if not found.items:
            return await self._offline.synthesize_memory(request, asker)
        evidence = [memory_evidence(memory) for memory in found.items][: prompts.MAX_EVIDENCE]
        data = {"query": request.query, "sentences": request.sentences}

        def check(draft: SynthesisDraft) -> list[Statement]:
            if not draft.statements:
                raise InvalidInputError.for_field("statements", "at least one, from the evidence")
            for statement in draft.statements:
                cited(statement.cites, evidence)
            return [Statement(text=s.text, cites=s.cites) for s in draft.statements[: request.sentences]]

        messages = prompts.question(SYNTHESIS_RULE, data, evidence)
        statements = await self._ask(messages, SynthesisDraft, check, request, asker, spent)
        used = {cite for statement in statements for cite in statement.cites}
        answer = SynthesizeMemoryResponse(
            summary=" ".join(statement.text for statement in statements), statements=statements, read=len(found.items)
        )
        return _signed(answer, spent, [item for item in evidence if item.id in used], found.fallback)

    async def assess_capabilities(
        self, request: AssessCapabilitiesRequest, asker: Asker, spent: Spent | None = None
    ) -> AssessCapabilitiesResponse:
        """The gaps of the offline engine, with a summary in the model's words."""
        spent = spent or Spent()
        assessed = await self._offline.assess_capabilities(request, asker)
        data = {
            "tasks": assessed.tasks,
            "gaps": [g.model_dump(mode="json", exclude={"numbers"}) for g in assessed.gaps[: prompts.MAX_EVIDENCE]],
        }
        messages = prompts.question(SUMMARY_RULE, data, [])
        assessed.summary = await self._ask(messages, SummaryDraft, lambda d: d.summary, request, asker, spent)
        return _signed(assessed, spent, assessed.evidence)

    async def _ask(
        self,
        messages: Sequence[ChatMessage],
        kind: type[Draft],
        check: Callable[[Draft], Checked],
        choice: EngineChoice,
        asker: Asker,
        spent: Spent,
    ) -> Checked:
        return await ask(
            self._chat,
            messages,
            kind,
            check,
            profile=choice.profile,
            asker=asker,
            spent=spent,
            timeout_s=self._settings.model_answer_s,
        )


def _signed(
    answer: Answer, spent: Spent, evidence: Sequence[EvidenceOut], memory_fallback: str | None = None
) -> Answer:
    answer.engine, answer.model, answer.usage = "llm", spent.model, spent.usage
    answer.evidence, answer.memory_fallback = list(evidence), memory_fallback
    return answer
