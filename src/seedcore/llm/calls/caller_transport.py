"""Where pydantic-ai's client sends to: the one way that all calls of models go.

Import it on first use: the library's HTTP client is not SeedCore's own.
"""

import asyncio
import json
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import httpx2

from seedcore.errors import DeadlineError, SeedCoreError
from seedcore.llm.budget_scope import BudgetScope
from seedcore.llm.calls.model_caller import ModelCaller
from seedcore.llm.prices import ModelUsage


@dataclass(slots=True)
class OpenQuestion:
    """One question while it is asked: who pays, until when, and what its calls used."""

    scope: BudgetScope
    deadline: float | None
    used: Callable[[int, int, float], None] | None = None
    usage: ModelUsage = field(default_factory=ModelUsage)
    money: float = 0.0
    priced: bool = True
    rounds: int = 0
    model: str = ""
    error: SeedCoreError | None = None

    def facts(self) -> dict[str, Any]:
        """What an error about the answer says of it: the model, and what its calls used."""
        return {
            "model": self.model or None,
            "usage": {"calls": self.rounds, **self.usage._asdict(), "money": self.money},
        }


current_question: ContextVar[OpenQuestion] = ContextVar("current_question")


class CallerTransport(httpx2.AsyncBaseTransport):
    """Hands requests to a `ModelCaller`."""

    def __init__(self, caller: ModelCaller) -> None:
        self._caller = caller

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer; an error of SeedCore's is kept, as the library would make another one of it."""
        question = current_question.get()
        left = None if question.deadline is None else question.deadline - asyncio.get_running_loop().time()
        try:
            if left is not None and left <= 0:
                raise DeadlineError("The language model did not answer in time.")
            reply = await self._caller.chat(json.loads(request.content), question.scope, timeout_s=left)
        except SeedCoreError as error:
            question.error = error
            raise
        question.rounds += 1
        question.model = reply.model
        question.usage = question.usage.plus(reply.usage or ModelUsage())
        question.money += reply.money
        if question.used is not None:
            question.used(*(reply.usage or ModelUsage()), reply.money)
        question.priced = question.priced and reply.priced
        return httpx2.Response(200, content=reply.content, headers={"content-type": "application/json"})
