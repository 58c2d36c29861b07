"""Asks a language model for one answer: checked, sent back once with the errors, and counted."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from pydantic import BaseModel

from seedcore.cognitive.engines.engine import Asker
from seedcore.cognitive.engines.llm.prompts import again
from seedcore.errors import DeadlineError, InvalidInputError
from seedcore.llm.budget_scope import BudgetScope
from seedcore.llm.chat_types import ChatAnswer, ChatMessage, ChatRequest, Profile
from seedcore.llm.model_errors import ModelAnswerError
from seedcore.schemas.cognitive.engine_answer import UsageOut

Draft = TypeVar("Draft", bound=BaseModel)
Checked = TypeVar("Checked")
ROUNDS = 2


class Chat(Protocol):
    """What asks a model: `llm.chat_client.ChatClient`."""

    async def complete(self, request: ChatRequest) -> ChatAnswer:
        """Ask, and wait for the whole answer."""


class UnusableAnswerError(ModelAnswerError, code="llm_bad_answer"):
    """The model's answer was refused twice; the detail says why."""


@dataclass(slots=True)
class Spent:
    """What one question used: the model, how many answers were taken, tokens, money, and how many were refused."""

    model: str | None = None
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    money: float = 0.0
    refusals: list[str] = field(default_factory=list)

    def add(self, input_tokens: int, output_tokens: int, money: float) -> None:
        """Count a call of the model, whatever becomes of its answer."""
        self.calls += 1
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.money += money

    @property
    def usage(self) -> UsageOut:
        """As it goes over the wire."""
        return UsageOut(
            calls=self.calls, input_tokens=self.input_tokens, output_tokens=self.output_tokens, money=self.money
        )


async def ask(
    chat: Chat,
    messages: Sequence[ChatMessage],
    kind: type[Draft],
    check: Callable[[Draft], Checked],
    *,
    profile: Profile,
    asker: Asker,
    spent: Spent,
    timeout_s: float,
) -> Checked:
    """The first of two answers that passes `check`; the second is asked for with the errors of the first.

    Raises:
        UnusableAnswerError: both were refused.
        DeadlineError: no answer in time, the second one included.
        SeedCoreError: whatever the model's client raises.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout_s
    plan = None if asker.plan is None else str(asker.plan)
    scope = BudgetScope(plan, asker.key, asker.tenant, asker.plan_tokens, asker.plan_money)
    asked = list(messages)
    for _ in range(ROUNDS):
        left = until - loop.time()
        if left <= 0:
            raise DeadlineError(f"The language model did not answer within {timeout_s:g} s (COGNITIVE_LLM_TIMEOUT_S).")
        said = ""
        try:
            answer = await asyncio.wait_for(
                chat.complete(ChatRequest(asked, profile, kind, budget=scope, timeout_s=left, used=spent.add)),
                left,
            )
            spent.model = answer.model
            said = answer.text
            if not isinstance(answer.output, kind):
                raise ModelAnswerError("The answer is not a JSON object of the schema.")
            return check(answer.output)
        except TimeoutError:
            raise DeadlineError(
                f"The language model did not answer within {timeout_s:g} s (COGNITIVE_LLM_TIMEOUT_S)."
            ) from None
        except (ModelAnswerError, InvalidInputError) as error:
            spent.refusals.append(error.detail[:1000])
            asked = [*messages, *again(said, error.detail)]
    raise UnusableAnswerError(f"The language model's answer was refused twice: {spent.refusals[-1]}")
