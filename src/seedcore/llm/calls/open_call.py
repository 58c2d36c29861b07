"""A call that is being answered: read whole or as it comes, then settled."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx

from seedcore.errors import UnavailableError
from seedcore.llm.budgets import ModelBudgets, Reservation
from seedcore.llm.calls.answers import answer_of, usage_of
from seedcore.llm.calls.model_gate import ModelGate
from seedcore.llm.calls.prepared_call import AttemptFailed, PreparedCall
from seedcore.llm.calls.upstream_link import check_unpacked, read_bounded
from seedcore.llm.model_errors import ModelAnswerError
from seedcore.llm.prices import ModelUsage, cost_of
from seedcore.settings import Settings
from seedcore.telemetry.metrics import counter

DATA, DONE = b"data:", b"[DONE]"


@dataclass(frozen=True, slots=True)
class ModelReply:
    """An answer as its server gave it.

    Attributes:
        content: the JSON.
        body: the same, read.
        model: the model that was asked.
        usage: what the server says it used; None: it does not say, and what was reserved counts.
        money: by the price table.
        priced: False: the table has no price for the model, so it counts as 0.
    """

    content: bytes
    body: dict[str, Any]
    model: str
    usage: ModelUsage | None
    money: float
    priced: bool


class OpenCall:
    """An answer that arrives. `aclose` is due in any case; it settles what the call used.

    Attributes:
        model: the model that is asked.
        usage: what the answer said it used, once it did.
    """

    def __init__(
        self,
        call: PreparedCall,
        model: str,
        response: httpx.Response,
        gate: ModelGate,
        budgets: ModelBudgets,
        reservation: Reservation | None,
        settings: Settings,
    ) -> None:
        self.model = model
        self.usage: ModelUsage | None = None
        self._call = call
        self._response = response
        self._gate = gate
        self._budgets = budgets
        self._reservation = reservation
        self._settings = settings
        self._complete = False
        self._closing: asyncio.Future[None] | None = None

    async def read(self) -> ModelReply:
        """The whole answer.

        Raises:
            AttemptFailed: the connection broke.
            DeadlineError: it did not arrive in time.
            ModelAnswerError: it is too long, or no JSON object.
        """
        most = self._settings.llm_max_answer_bytes
        try:
            content = await self._call.within(read_bounded(self._response, most))
            if len(content) > most:
                raise _too_long(most)
            body = answer_of(content)
            self.usage, self._complete = usage_of(body), True
        except httpx.HTTPError as error:
            self._gate.breaker.failed()
            raise AttemptFailed(_broken(error), retry=True, unseen=True, sick=True) from None
        finally:
            await self.aclose()
        cost = cost_of(self._settings, self.model, self.usage or ModelUsage())
        return ModelReply(content, body, self.model, self.usage, cost.money, cost.priced)

    async def events(self) -> AsyncIterator[bytes]:
        """The JSON of each event of a streamed answer, as it comes; the last one says what was used.

        Raises:
            UnavailableError: the connection broke, or the stream ended before its end.
            DeadlineError: it did not end in time.
            ModelAnswerError: it is too long.
        """
        most, size = self._settings.llm_max_answer_bytes, 0
        parts = self._response.aiter_bytes()
        rest: list[bytes] = []
        try:
            check_unpacked(self._response)
            while (part := await self._call.within(anext(parts, None))) is not None:
                size += len(part)
                if size > most:
                    raise _too_long(most)
                if b"\n" not in part:
                    # Joined once: a line may come in a million pieces.
                    rest.append(part)
                    continue
                *lines, last = b"".join([*rest, part]).split(b"\n")
                rest = [last]
                for line in lines:
                    if not line.startswith(DATA):
                        continue
                    event = line[len(DATA) :].strip()
                    if event == DONE:
                        self._complete = True
                        return
                    if b'"usage"' in event:
                        self.usage = usage_of(answer_of(event)) or self.usage
                    yield event
            raise UnavailableError("The language model's server ended its answer too early.")
        except httpx.HTTPError as error:
            self._gate.breaker.failed()
            raise _broken(error) from None
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the connection, pay, and let the next call have the turn."""
        if self._closing is None:
            # A task of its own: a client that leaves cancels whoever waits here, again and again.
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        try:
            await self._response.aclose()
            await self._settle()
        finally:
            if self._complete:
                self._gate.breaker.succeeded()
            self._gate.leave()

    async def _settle(self) -> None:
        outcome = "ok" if self._complete else "error"
        if self._reservation is None:
            # Whoever reserved counts it as well.
            return
        counter("seedcore_model_calls_total").add(1, model=self.model, outcome=outcome)
        if self.usage is None:
            return
        money = cost_of(self._settings, self.model, self.usage).money
        counter("seedcore_model_tokens_total").add(self.usage.input_tokens, model=self.model, direction="input")
        counter("seedcore_model_tokens_total").add(self.usage.output_tokens, model=self.model, direction="output")
        counter("seedcore_model_money_total").add(money, model=self.model)
        await self._budgets.settle(self._reservation, self.usage.tokens, money)


def with_usage_asked(body: dict[str, Any]) -> dict[str, Any]:
    """A request for a stream whose last event says what was used."""
    wanted = body.get("stream_options")
    options = {**(wanted if isinstance(wanted, dict) else {}), "include_usage": True}
    return {**body, "stream": True, "stream_options": options}


def is_usage_alone(event: bytes) -> bool:
    """Whether an event of a stream says what was used and nothing else, which clients get only when they ask for it."""
    if b'"usage"' not in event:
        return False
    try:
        found = json.loads(event)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and not found.get("choices")


def _too_long(most: int) -> ModelAnswerError:
    return ModelAnswerError(f"The language model's answer is longer than {most} bytes (LLM_MAX_ANSWER_BYTES).")


def _broken(error: httpx.HTTPError) -> UnavailableError:
    return UnavailableError(f"The language model's server broke its answer off ({type(error).__name__}).")
