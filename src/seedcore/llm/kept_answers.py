"""Answers of language models that are given again, where the request asks for it."""

import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from seedcore.llm.chat_types import ChatAnswer, ChatRequest
from seedcore.llm.model_errors import BudgetExceededError
from seedcore.llm.prices import ModelUsage

NAMESPACE = "answers"

Value = TypeVar("Value")


class AnswerCache(Protocol):
    """Where answers are kept: `memory.working.working_memory.WorkingMemory`."""

    async def get_or_make(self, namespace: str, key: str, make: Callable[[], Awaitable[Value]], ttl_s: float) -> Value:
        """The kept value, or the one that `make` gives."""
        ...

    async def forget(self, namespace: str, key: str) -> None:
        """Remove a value."""
        ...


async def kept_answer(
    cache: AnswerCache, request: ChatRequest, model: str, ask: Callable[[ChatRequest], Awaitable[ChatAnswer]]
) -> ChatAnswer:
    """The answer that the same question of the same tenant had in the last `keep_s` seconds, else that of `ask`.

    A kept answer used nothing, and says so (`kept`). Of several that ask at once one asks the model, and pays.
    """
    assert request.keep_s is not None
    began, asked = False, None

    async def make() -> bytes:
        nonlocal began, asked
        began = True
        asked = await ask(request)
        kept = {"text": asked.text, "model": asked.model, "priced": asked.priced, "at": time.time()}
        return json.dumps(kept).encode()

    key = _key(request, model)
    try:
        found = json.loads(await cache.get_or_make(NAMESPACE, key, make, request.keep_s))
        if asked is None and time.time() - found["at"] > request.keep_s:
            # Another request wanted it to be kept for longer.
            await cache.forget(NAMESPACE, key)
            found = json.loads(await cache.get_or_make(NAMESPACE, key, make, request.keep_s))
    except BudgetExceededError:
        if began:
            raise
        # It was the budget of another one who asked the same at the same time.
        return await ask(request)
    if asked is not None:
        return asked
    output = None if request.output_type is None else request.output_type.model_validate_json(found["text"])
    return ChatAnswer(found["text"], output, found["model"], ModelUsage(), 0.0, found["priced"], 0, kept=True)


def _key(request: ChatRequest, model: str) -> str:
    schema = None if request.output_type is None else request.output_type.model_json_schema()
    asked = [
        request.budget.tenant,
        model,
        [[message.role, message.content] for message in request.messages],
        schema,
        request.max_tokens,
        request.temperature,
    ]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
