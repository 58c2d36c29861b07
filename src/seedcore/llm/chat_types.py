"""What is asked of a language model, and what it answers."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from seedcore.llm.budget_scope import BudgetScope
from seedcore.llm.prices import ModelUsage

Profile = Literal["fast", "deep"]

MAX_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message; only `system` is an instruction of SeedCore's own."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class ChatTool:
    """A function that the model may call; it gets arguments that fit `parameters`, and its result is shown as JSON."""

    name: str
    description: str
    parameters: type[BaseModel]
    call: Callable[[Any], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A question to a language model.

    Attributes:
        messages: the conversation; the last one is the user's.
        profile: the model: `fast` or `deep`, which settings map to names.
        output_type: what the answer must be; None: text.
        tools: what the model may call before it answers.
        max_tokens: most tokens of one answer; None: LLM_MAX_TOKENS.
        budget: who pays.
        repairs: how often an answer that does not fit `output_type` is sent back with the errors.
        max_rounds: most calls of the model for this one question.
        temperature: None: the server's own.
        timeout_s: longest time for all of it; None: LLM_TIMEOUT_S for each call.
        keep_s: the same question of the same tenant may be answered with an answer that is at most so many seconds
            old, at no cost; None: the model is asked. Questions with tools are always asked.
        used: called after each call of the model with its input tokens, output tokens and money.
    """

    messages: Sequence[ChatMessage]
    profile: Profile = "fast"
    output_type: type[BaseModel] | None = None
    tools: Sequence[ChatTool] = ()
    max_tokens: int | None = None
    budget: BudgetScope = field(default_factory=BudgetScope)
    repairs: int = 0
    max_rounds: int = MAX_ROUNDS
    temperature: float | None = None
    timeout_s: float | None = None
    keep_s: float | None = None
    used: Callable[[int, int, float], None] | None = None


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """An answer, and what it used.

    Attributes:
        text: the answer as text; with an `output_type` its JSON.
        output: an instance of `output_type`; None where text was asked for.
        model: the model that answered.
        usage: tokens of all calls.
        money: by the price table.
        priced: False: the table has no price for the model, so it counts as 0.
        rounds: how many calls it took.
        kept: it was given before to the same question (`ChatRequest.keep_s`).
    """

    text: str
    output: BaseModel | None
    model: str
    usage: ModelUsage
    money: float
    priced: bool
    rounds: int
    kept: bool = False
