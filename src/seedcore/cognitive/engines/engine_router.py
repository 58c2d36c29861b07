"""Which engine answers, and what happens when the language model does not."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from seedcore.cognitive.engines.engine import Asker
from seedcore.cognitive.engines.llm.asking import Spent, UnusableAnswerError
from seedcore.cognitive.engines.llm.llm_engine import LlmEngine
from seedcore.cognitive.engines.offline.offline_engine import OfflineEngine, Skills
from seedcore.errors import (
    BadGatewayError,
    DeadlineError,
    FieldError,
    NoPlanError,
    OverloadedError,
    SeedCoreError,
    UnavailableError,
)
from seedcore.llm.model_errors import BudgetExceededError, LlmNotConfiguredError, ModelAnswerError, ModelRefusedError
from seedcore.schemas.cognitive.capabilities import AssessCapabilitiesRequest, AssessCapabilitiesResponse
from seedcore.schemas.cognitive.decisions import MakeDecisionRequest, MakeDecisionResponse
from seedcore.schemas.cognitive.engine_answer import EngineAnswer, EngineChoice, EngineName, FallbackOut
from seedcore.schemas.cognitive.failures import ReasonRequest, ReasonResponse
from seedcore.schemas.cognitive.memory_synthesis import SynthesizeMemoryRequest, SynthesizeMemoryResponse
from seedcore.schemas.cognitive.planning import PlanTaskRequest, PlanTaskResponse
from seedcore.schemas.cognitive.problem_solving import SolveProblemRequest, SolveProblemResponse
from seedcore.tasks.plans.free_text import is_free_text
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter

Request = TypeVar("Request", bound=EngineChoice)
Answer = TypeVar("Answer", bound=EngineAnswer)

MODEL_ERRORS = (
    BadGatewayError,
    BudgetExceededError,
    DeadlineError,
    ModelAnswerError,
    ModelRefusedError,
    OverloadedError,
    UnavailableError,
)
"""After these the offline engine answers."""
INVALID = "invalid_answer"


class EngineRouter:
    """The engine that callers see: the language model for what is in free text, the offline engine for all the rest.

    Args:
        offline: always there.
        llm: None: no language model is set up.
        skills: what plans may use.
        why: what to set for a language model.
    """

    def __init__(self, offline: OfflineEngine, llm: LlmEngine | None, skills: Skills, why: str | None) -> None:
        self._offline, self._llm, self._skills, self._why = offline, llm, skills, why
        self.fallbacks: Counter[str] = Counter()
        self.answers: Counter[EngineName] = Counter()
        self._log = get_logger("seedcore.cognitive.engines")

    @property
    def name(self) -> EngineName:
        """The engine that reads free text."""
        return "offline" if self._llm is None else "llm"

    def health(self) -> dict[str, object]:
        """Answers by engine, and fallbacks by their reason."""
        return {"reads_text": self.name, "answers": dict(self.answers), "fallbacks": dict(self.fallbacks)}

    async def plan_task(self, request: PlanTaskRequest, asker: Asker) -> PlanTaskResponse:
        """See `Engine.plan_task`."""
        text = is_free_text(request.goal, request.inputs, self._skills())
        second = self._offline.plan_text if text else self._offline.plan_task
        first = None if self._llm is None else self._llm.plan_task
        return await self._answer(request, asker, first, self._offline.plan_task, second, text=text)

    async def reason_about_failure(self, request: ReasonRequest, asker: Asker) -> ReasonResponse:
        """See `Engine.reason_about_failure`."""
        first = None if self._llm is None else self._llm.reason_about_failure
        return await self._answer(request, asker, first, self._offline.reason_about_failure)

    async def make_decision(self, request: MakeDecisionRequest, asker: Asker) -> MakeDecisionResponse:
        """See `Engine.make_decision`."""
        first = None if self._llm is None else self._llm.make_decision
        return await self._answer(request, asker, first, self._offline.make_decision)

    async def solve_problem(self, request: SolveProblemRequest, asker: Asker) -> SolveProblemResponse:
        """See `Engine.solve_problem`."""
        first = None if self._llm is None else self._llm.solve_problem
        return await self._answer(request, asker, first, self._offline.solve_problem, text=True)

    async def synthesize_memory(self, request: SynthesizeMemoryRequest, asker: Asker) -> SynthesizeMemoryResponse:
        """See `Engine.synthesize_memory`."""
        first = None if self._llm is None else self._llm.synthesize_memory
        return await self._answer(request, asker, first, self._offline.synthesize_memory, text=True)

    async def assess_capabilities(self, request: AssessCapabilitiesRequest, asker: Asker) -> AssessCapabilitiesResponse:
        """See `Engine.assess_capabilities`."""
        first = None if self._llm is None else self._llm.assess_capabilities
        return await self._answer(request, asker, first, self._offline.assess_capabilities)

    async def _answer(
        self,
        request: Request,
        asker: Asker,
        llm: Callable[[Request, Asker, Spent], Awaitable[Answer]] | None,
        offline: Callable[[Request, Asker], Awaitable[Answer]],
        second: Callable[[Request, Asker], Awaitable[Answer]] | None = None,
        *,
        text: bool = False,
    ) -> Answer:
        wanted = request.engine or ("llm" if text and llm is not None else "offline")
        if wanted == "offline":
            return self._counted(await offline(request, asker))
        if llm is None:
            raise LlmNotConfiguredError(
                f"No language model is set up, and `engine` asks for one. {self._why or ''}".strip(),
                errors=[FieldError("engine", "must be `offline` while there is no language model")],
            )
        spent = Spent()
        try:
            return self._counted(await llm(request, asker, spent))
        except LlmNotConfiguredError as error:
            failure: SeedCoreError = error
        except MODEL_ERRORS as error:
            failure = error
        code = INVALID if isinstance(failure, UnusableAnswerError) else failure.code
        self.fallbacks[code] += 1
        counter("seedcore_fallbacks_total").add(1, fallback="offline_engine")
        self._log.warning("the language model gave no answer, the offline engine does", code=code)
        used: dict[str, Any] = {"usage": spent.usage.model_dump()} if spent.calls else {}
        try:
            answer = await (second or offline)(request, asker)
        except NoPlanError as error:
            if code != INVALID:
                failure.extra |= used
                raise failure from error
            detail = f"{failure.detail} The offline engine has no plan either: {error.detail}"
            raise NoPlanError(detail, errors=error.errors, fallback={"code": code}, **used, **error.extra) from None
        answer.fallback = FallbackOut(code=code, reason=failure.detail[:1000])
        answer.usage, answer.model = (spent.usage, spent.model) if spent.calls else (None, None)
        return self._counted(answer)

    def _counted(self, answer: Answer) -> Answer:
        self.answers[answer.engine] += 1
        return answer
