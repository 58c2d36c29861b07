"""The one way to a language model: every call takes its turn, is paid for before it is sent, and has a time-out."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from seedcore.errors import InvalidInputError
from seedcore.llm.budget_scope import BudgetScope
from seedcore.llm.budgets import ModelBudgets, Reservation
from seedcore.llm.calls.model_gate import ModelGate
from seedcore.llm.calls.open_call import ModelReply, OpenCall, with_usage_asked
from seedcore.llm.calls.prepared_call import AttemptFailed, PreparedCall
from seedcore.llm.calls.token_bounds import output_bound, prompt_bound
from seedcore.llm.calls.upstream_link import UpstreamLink
from seedcore.llm.prices import ModelUsage, cost_of
from seedcore.llm.upstream import Upstream, find_upstream, upstream_health
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.telemetry.metrics import counter

PAUSE_S = 0.25
MAX_GATES = 256
CHAT, EMBEDDINGS = "/chat/completions", "/embeddings"

Got = TypeVar("Got")


class ModelCaller:
    """Sends requests in OpenAI's protocol to the one upstream of the settings; one a process.

    Args:
        settings: what is set up.
        database: where budgets are.
        facade: True in the ML service; see `find_upstream`.
    """

    def __init__(self, settings: Settings, database: Database, *, facade: bool = False) -> None:
        self.settings = settings
        self.budgets = ModelBudgets(settings, database)
        self._facade = facade
        self._link = UpstreamLink(settings)
        self._gates: dict[str, ModelGate] = {}

    async def chat(self, body: Mapping[str, Any], scope: BudgetScope, *, timeout_s: float | None = None) -> ModelReply:
        """One answer to a chat request (a JSON object; `model` may be an alias, or absent).

        Raises:
            LlmNotConfiguredError: there is no language model.
            BudgetExceededError: it would be over a budget; nothing was sent.
            UnavailableError: the server does not answer, or the breaker is open.
            OverloadedError: it has too much to do.
            DeadlineError: no answer in time.
            ModelRefusedError: the server does not accept the request.
            ModelAnswerError: the answer cannot be used.
        """
        return await self._retrying(self._prepare(CHAT, {**body, "stream": False}, scope, timeout_s), OpenCall.read)

    async def open_stream(
        self, body: Mapping[str, Any], scope: BudgetScope, *, timeout_s: float | None = None
    ) -> OpenCall:
        """A chat request whose answer is streamed: see `OpenCall.events`. Raises what `chat` raises."""
        return await self._retrying(self._prepare(CHAT, with_usage_asked(dict(body)), scope, timeout_s), _as_it_is)

    async def embeddings(
        self, body: Mapping[str, Any], scope: BudgetScope, *, timeout_s: float | None = None
    ) -> ModelReply:
        """Vectors of texts; raises what `chat` raises."""
        return await self._retrying(self._prepare(EMBEDDINGS, dict(body), scope, timeout_s), OpenCall.read)

    async def models(self) -> list[str]:
        """Names of the models that the server has, at most a minute old; raises what `chat` raises."""
        upstream = await find_upstream(self.settings, facade=self._facade)
        return await self._link.names(upstream, self.settings.llm_timeout_s)

    def health(self) -> dict[str, object]:
        """What is set up, and how it does; asks nothing."""
        found = upstream_health(self.settings)
        if self._gates:
            found["models"] = {gate.model: gate.status() for gate in list(self._gates.values())}
        return found

    async def aclose(self) -> None:
        """Close the connections."""
        await self._link.aclose()

    def _prepare(self, path: str, body: dict[str, Any], scope: BudgetScope, timeout_s: float | None) -> PreparedCall:
        if path == CHAT and not (body.get("max_tokens") or body.get("max_completion_tokens")):
            body["max_tokens"] = self.settings.llm_max_tokens
        model = body.pop("model", None)
        within_s = min(timeout_s or self.settings.llm_timeout_s, self.settings.llm_timeout_s)
        return PreparedCall(path, body, model, scope, asyncio.get_running_loop().time() + within_s)

    async def _retrying(self, call: PreparedCall, finish: Callable[[OpenCall], Awaitable[Got]]) -> Got:
        """Try, until an answer has begun that is handed on, or retries or time are used up."""
        pause_s = PAUSE_S
        for left in range(self.settings.llm_retries, -1, -1):
            try:
                return await finish(await self._attempt(call))
            except AttemptFailed as failure:
                wait_s = max(failure.error.retry_after_s or 0, pause_s) * random.uniform(1, 1.5)  # noqa: S311
                if not (failure.retry and left) or asyncio.get_running_loop().time() + wait_s > call.deadline:
                    raise failure.error from None
            pause_s *= 2
            await asyncio.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, call: PreparedCall) -> OpenCall:
        """One attempt, with a reservation of its own: one that may have been answered unseen is not free."""
        upstream = await call.within(find_upstream(self.settings, facade=self._facade))
        left_s = call.deadline - asyncio.get_running_loop().time()
        model = await self._link.resolve(upstream, call.model, left_s)
        gate = self._gate(model)
        await gate.enter(call.deadline)
        try:
            reservation = await self._reserve(upstream, model, call)
            try:
                response = await self._link.send(upstream, model, call)
            except AttemptFailed as failure:
                await self._failed(failure, gate, reservation)
                raise
        except BaseException:
            gate.leave()
            raise
        return OpenCall(call, model, response, gate, self.budgets, reservation, self.settings)

    async def _reserve(self, upstream: Upstream, model: str, call: PreparedCall) -> Reservation | None:
        if not upstream.reserves:
            return None
        try:
            bound = ModelUsage(prompt_bound(call.body), output_bound(call.body))
        except RecursionError:
            raise InvalidInputError.for_field("messages", "is nested too deeply") from None
        return await self.budgets.reserve(call.scope, bound.tokens, cost_of(self.settings, model, bound).money)

    async def _failed(self, failure: AttemptFailed, gate: ModelGate, reservation: Reservation | None) -> None:
        if failure.sick:
            gate.breaker.failed()
        else:
            gate.breaker.succeeded()
        if reservation is None:
            return
        counter("seedcore_model_calls_total").add(1, model=gate.model, outcome="error")
        if not failure.unseen:
            await self.budgets.settle(reservation, 0, 0)

    def _gate(self, model: str) -> ModelGate:
        gate = self._gates.get(model)
        if gate is None:
            # Names come from clients, so their number is bounded: a gate that is not in use goes.
            if len(self._gates) >= MAX_GATES:
                self._gates = {name: gate for name, gate in self._gates.items() if gate.open or gate.waiting}
            gate = self._gates[model] = ModelGate(model, self.settings.llm_concurrency)
        return gate


async def _as_it_is(call: OpenCall) -> OpenCall:
    return call
