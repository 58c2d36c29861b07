"""What an engine does: the six operations of the Cognitive service, behind one protocol."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from seedcore.schemas.cognitive.capabilities import AssessCapabilitiesRequest, AssessCapabilitiesResponse
from seedcore.schemas.cognitive.decisions import MakeDecisionRequest, MakeDecisionResponse
from seedcore.schemas.cognitive.engine_answer import EngineName
from seedcore.schemas.cognitive.failures import ReasonRequest, ReasonResponse
from seedcore.schemas.cognitive.memory_synthesis import SynthesizeMemoryRequest, SynthesizeMemoryResponse
from seedcore.schemas.cognitive.planning import PlanTaskRequest, PlanTaskResponse
from seedcore.schemas.cognitive.problem_solving import SolveProblemRequest, SolveProblemResponse
from seedcore.tasks.model import DEFAULT_TENANT


@dataclass(frozen=True, slots=True)
class Asker:
    """For whom an engine works.

    Attributes:
        tenant: whose memory it reads, and whose budget pays.
        key: name of the API key that was presented; None: none was, or SeedCore itself asks.
        plan: task of the plan whose budget pays.
        plan_tokens: what that plan may use in tokens; None: what the settings say.
        plan_money: the same in money.
    """

    tenant: str = DEFAULT_TENANT
    key: str | None = None
    plan: UUID | None = None
    plan_tokens: float | None = None
    plan_money: float | None = None


class Engine(Protocol):
    """Answers the six operations. Every answer says which engine gave it, and what it rests on.

    Each raises `seedcore.errors` for input that it cannot work with, and UnavailableError when what it reads is away.
    """

    @property
    def name(self) -> EngineName:
        """`offline` or `llm`."""

    async def plan_task(self, request: PlanTaskRequest, asker: Asker) -> PlanTaskResponse:
        """A plan that reaches a goal; NoPlanError: there is none."""

    async def reason_about_failure(self, request: ReasonRequest, asker: Asker) -> ReasonResponse:
        """Possible causes of a failure, the likeliest first."""

    async def make_decision(self, request: MakeDecisionRequest, asker: Asker) -> MakeDecisionResponse:
        """The allowed option with the least expected loss."""

    async def solve_problem(self, request: SolveProblemRequest, asker: Asker) -> SolveProblemResponse:
        """An answer to a problem in words, a plan for it, or both."""

    async def synthesize_memory(self, request: SynthesizeMemoryRequest, asker: Asker) -> SynthesizeMemoryResponse:
        """What memory says about a query, each statement with the memories that it rests on."""

    async def assess_capabilities(self, request: AssessCapabilitiesRequest, asker: Asker) -> AssessCapabilitiesResponse:
        """What SeedCore is asked for and cannot do."""
