"""The language model of a skill: what it uses is what the attempt spent."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pydantic import BaseModel

from seedcore.telemetry.traces import gen_ai
from seedcore.telemetry.traces.run_trace import NO_SPAN, OpenSpan, RunTrace

Used = Callable[[int, int, float], None]
"""Takes input tokens, output tokens and money of one call."""


class SkillAnswer(Protocol):
    """What a language model answered."""

    @property
    def text(self) -> str:
        """The answer; with an `output` its JSON."""

    @property
    def output(self) -> Any:
        """An instance of the model class that was asked for; None where text was."""

    @property
    def model(self) -> str:
        """The model that answered."""

    @property
    def money(self) -> float:
        """By the price table of the settings."""

    @property
    def priced(self) -> bool:
        """False: the table has no price for the model, so it counts as 0."""


class SkillModels(Protocol):
    """Asks language models for skills."""

    async def ask(
        self,
        task_id: str,
        tenant: str,
        prompt: str,
        used: Used,
        *,
        system: str | None,
        output: type[BaseModel] | None,
        profile: str,
        tools: Sequence[Any],
        max_tokens: int | None,
        keep_s: float | None,
    ) -> SkillAnswer:
        """Ask within the budgets of the task's plan, its tenant and the day."""


class SkillLlm:
    """`context.llm`: the language model that SeedCore is set up with."""

    def __init__(
        self,
        models: SkillModels | None,
        task_id: str,
        tenant: str,
        trace: RunTrace | None,
        spend: Callable[[float, float], None],
    ) -> None:
        self._models = models
        self._task_id = task_id
        self._tenant = tenant
        self._trace = trace
        self._spend = spend

    async def complete(
        self,
        prompt: str,
        *,
        system: str | None = None,
        output: type[BaseModel] | None = None,
        profile: str = "fast",
        tools: Sequence[Any] = (),
        max_tokens: int | None = None,
        keep_s: float | None = None,
    ) -> SkillAnswer:
        """Ask the language model. What it uses counts as spent by the attempt, and against the budgets.

        Args:
            prompt: the question, with all that is data.
            system: instructions that come before it.
            output: what the answer must be: a pydantic model class. None: text.
            profile: `fast` or `deep`.
            tools: functions that the model may call (`seedcore.llm.chat_types.ChatTool`).
            max_tokens: most tokens of one answer; None: LLM_MAX_TOKENS.
            keep_s: an answer to the same question of the same tenant that is at most so many seconds old will do, at
                no cost; None: the model is asked.

        Raises:
            LlmNotConfiguredError: there is no language model.
            BudgetExceededError: the call would exceed a budget; it was not sent.
            SeedCoreError: see `ChatClient.complete`.
            RuntimeError: the skill runs in a process of its own, which has no language model.
        """
        if self._models is None:
            raise RuntimeError("context.llm is for skills in the host's process; this one runs without clients")
        span = NO_SPAN if self._trace is None else self._trace.span("chat", "client", {gen_ai.OPERATION_NAME: "chat"})
        sums = [0, 0, 0.0]

        def used(input_tokens: int, output_tokens: int, money: float) -> None:
            self._spend(input_tokens + output_tokens, money)
            for at, number in enumerate((input_tokens, output_tokens, money)):
                sums[at] += number

        async with span:
            try:
                answer = await self._models.ask(
                    *(self._task_id, self._tenant, prompt, used),
                    system=system,
                    output=output,
                    profile=profile,
                    tools=tools,
                    max_tokens=max_tokens,
                    keep_s=keep_s,
                )
            finally:
                if isinstance(span, OpenSpan):
                    input_tokens, output_tokens, money = sums
                    span.set_all(
                        {gen_ai.INPUT_TOKENS: input_tokens, gen_ai.OUTPUT_TOKENS: output_tokens, gen_ai.MONEY: money}
                    )
            if isinstance(span, OpenSpan):
                span.set_all({gen_ai.RESPONSE_MODEL: answer.model})
        return answer
