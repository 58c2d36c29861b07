"""A call of a language model by a skill: a span by the conventions, counts of metrics, and what the attempt spent."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from seedcore.telemetry.metrics import counter
from seedcore.telemetry.traces import gen_ai
from seedcore.telemetry.traces.run_trace import NO_SPAN, NoSpan, OpenSpan, RunTrace
from seedcore.telemetry.traces.tracing import Attribute

Spend = Callable[[float, float], None]

UNREPORTED = "unreported"
"""The model of what a skill has spent, when it reports an amount alone."""


def count_unnamed(tokens: float, money: float) -> None:
    """Count what was spent on some model."""
    counter("seedcore_model_tokens_total").add(tokens, model=UNREPORTED, direction="total")
    counter("seedcore_model_money_total").add(money, model=UNREPORTED)


class ModelCall:
    """One call; use it in `with` or `async with`, and say with `used` what the answer cost.

    Args:
        provider: who runs the model, as the conventions name it: `openai`, `anthropic`, `aws.bedrock`, …
        model: the model that is asked for.
        operation: `chat`, `embeddings`, `text_completion`, `generate_content`, …
        run: the run that it belongs to, when it is recorded.
        spend: adds tokens and money to what the attempt spent.
    """

    def __init__(self, provider: str, model: str, operation: str, run: RunTrace | None, spend: Spend) -> None:
        self.model = model
        self._spend = spend
        self._tokens, self._money = (0, 0), 0.0
        self._span: NoSpan = NO_SPAN
        if run is not None:
            named: dict[str, Attribute] = {
                gen_ai.OPERATION_NAME: operation,
                gen_ai.PROVIDER_NAME: provider,
                gen_ai.REQUEST_MODEL: model,
            }
            self._span = run.span(f"{operation} {model}", "client", named)

    def used(
        self, *, input_tokens: int = 0, output_tokens: int = 0, money: float = 0.0, model: str | None = None
    ) -> None:
        """What the call used, in one report or several; `model` is the one that answered.

        Raises:
            ValueError: see `SkillContext.spend`; nothing of it counts.
        """
        for name, tokens in (("input_tokens", input_tokens), ("output_tokens", output_tokens)):
            if not isinstance(tokens, int) or tokens < 0:
                raise ValueError(f"used: {name} must be an integer that is not negative, got {type(tokens).__name__}")
        self._spend(input_tokens + output_tokens, money)
        self._tokens = self._tokens[0] + input_tokens, self._tokens[1] + output_tokens
        self._money += float(money)
        counter("seedcore_model_tokens_total").add(input_tokens, model=self.model, direction="input")
        counter("seedcore_model_tokens_total").add(output_tokens, model=self.model, direction="output")
        counter("seedcore_model_money_total").add(float(money), model=self.model)
        if isinstance(self._span, OpenSpan):
            found: dict[str, Attribute] = {
                gen_ai.INPUT_TOKENS: self._tokens[0],
                gen_ai.OUTPUT_TOKENS: self._tokens[1],
                gen_ai.MONEY: self._money,
            }
            self._span.set_all(found if model is None else {**found, gen_ai.RESPONSE_MODEL: model})

    def __enter__(self) -> Self:
        self._span.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """It has ended."""
        self._span.__exit__(kind, error, at)
        counter("seedcore_model_calls_total").add(1, model=self.model, outcome="ok" if kind is None else "error")

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """It has ended."""
        self.__exit__(kind, error, at)
