"""The context of a skill: facts of its task, and the clients and memory that it may use."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

from seedcore.settings import Settings
from seedcore.skills.context_llm import SkillLlm, SkillModels
from seedcore.skills.recall import RecalledMemory, SkillRecall
from seedcore.skills.reports import SkillProgress, amount, progress_of
from seedcore.telemetry.traces.model_call import ModelCall, count_unnamed
from seedcore.telemetry.traces.run_trace import NO_SPAN, NoSpan, RunTrace

Result = TypeVar("Result")

MAX_TOKENS, MAX_MONEY = 1e12, 1e9
"""Upper bounds of what one attempt may report as spent; more is a mistake that would dwarf every other figure."""


class Prediction(Protocol):
    """What a model answers for one row: a label or value, and for classes their probabilities by label."""

    @property
    def prediction(self) -> bool | int | float | str | None:
        """The label, or the value of a regression."""

    @property
    def probabilities(self) -> Mapping[str, float] | None:
        """By label; None for a regression."""


class PredictionClient(Protocol):
    """Client of the ML service."""

    async def reach(self) -> object:
        """Connect, so that the first prediction does not wait for it."""

    async def predict(
        self,
        name: str,
        features: Mapping[str, object] | Sequence[object],
        version: int | None = None,
        alias: str | None = None,
        *,
        contributions: bool = False,
    ) -> Prediction:
        """Predict one row with a trained model; the champion answers unless a version or alias is named, and the newest
        version where there is no champion. `contributions`: also say how much each column moved the answer."""


class KeptObject(Protocol):
    """What skills of one process share, such as a pool of connections or loaded models.

    Attributes:
        name: what the host's status calls it.
    """

    name: ClassVar[str]

    def status(self) -> Mapping[str, object]:
        """What it does, for the host's status; called from any thread."""

    async def aclose(self) -> None:
        """End it: the host closes."""


Kept = TypeVar("Kept", bound=KeptObject)


class SkillClients(Protocol):
    """The clients of services that a skill may call."""

    @property
    def recall(self) -> SkillRecall:
        """Long-term memory."""

    def keep(self, make: Callable[[Settings], Kept]) -> Kept:
        """The one object of this process that `make` makes; it is made on first use, in the skills' loop."""

    @property
    def ml(self) -> PredictionClient:
        """Client of the ML service."""

    @property
    def models(self) -> SkillModels:
        """Asks language models; skills use `context.llm`."""


class SkillMemory(Protocol):
    """The private memory of the agent that runs the skill: keys to small JSON values, kept in PostgreSQL.

    Use it for hints that make the next task better or cheaper, not for results: two attempts of the agent may write at
    the same time, and the last write wins.
    """

    async def get(self, key: str, default: object = None) -> Any:
        """The value, or `default` when there is none."""

    async def set(self, key: str, value: object) -> None:
        """Keep a JSON value.

        Raises:
            TooLargeError: all that the agent keeps would be more than 64 KiB.
            InvalidInputError: it is not JSON, or the key is not text of 1 to 512 bytes.
        """

    async def delete(self, key: str) -> bool:
        """Forget a key; True when there was one."""


class Meter(Protocol):
    """Sums up what an attempt spends: (tokens, money), None while nothing was reported."""

    usage: tuple[float, float] | None


class ProgressSink(Protocol):
    """Where the progress of attempts goes; callable from any thread."""

    def report(self, task_id: str, token: int, progress: SkillProgress) -> None:
        """Take the newest progress of an attempt; what an earlier call said and that was not read is forgotten."""


class CancelFlag:
    """Whether a skill in a thread was asked to stop."""

    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        self.cancelled = False


@dataclass(frozen=True, slots=True)
class SkillContext:
    """The task that a skill runs for, and what the skill may use.

    `lease_token` is the fencing token of this attempt; `idempotency_key` is the same for every attempt. Pass one of
    them to outside systems, so that an effect there happens once. `clients` and `memory` are None in a process.
    `trace` is None unless the run is recorded.
    """

    task_id: str
    attempt: int
    lease_token: int
    idempotency_key: str
    logger: Any
    clients: SkillClients | None = None
    agent_id: str = ""
    memory: SkillMemory | None = None
    flag: CancelFlag | None = None
    loop: asyncio.AbstractEventLoop | None = None
    meter: "Meter | None" = None
    sink: "ProgressSink | None" = None
    tenant: str = "default"
    trace: RunTrace | None = None

    def spend(self, *, tokens: float = 0, money: float = 0.0) -> None:
        """Report what this attempt spent, in one call or several; a plan that exceeds its budget ends.

        Raises:
            ValueError: a number is negative or not finite, or the attempt's sum is over MAX_TOKENS or MAX_MONEY.
        """
        self._add_usage(tokens, money)
        count_unnamed(float(tokens), float(money))

    def _add_usage(self, tokens: float, money: float) -> None:
        spent_tokens, spent_money = (self.meter.usage if self.meter is not None else None) or (0.0, 0.0)
        usage = _sum("tokens", spent_tokens, tokens, MAX_TOKENS), _sum("money", spent_money, money, MAX_MONEY)
        if self.meter is not None:
            self.meter.usage = usage

    async def remember(
        self,
        text: str,
        *,
        scope: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, object] | None = None,
        salience: float = 0.5,
    ) -> str:
        """Store a text in the long-term memory of the task's tenant; returns its id. Secrets in it are hidden.

        Args:
            text: at most 8,192 characters. The same text in the same scope is one memory.
            scope: `all`, `agent:ID`, `organ:NAME` or `domain:NAME`; None: the agent's own.
            tags: at most 16.
            metadata: a JSON object of at most 16 KiB.
            salience: importance, from 0 to 1.

        Raises:
            RuntimeError: the skill runs in a process of its own.
            InvalidInputError: it cannot be stored.
            UnavailableError: the database does not answer.
        """
        own = self._own_scopes[0]
        return await self._recall.remember(
            text, self.tenant, own if scope is None else scope, tags, metadata or {}, salience, self.task_id
        )

    async def recall(
        self, query: str, k: int = 5, *, scopes: Sequence[str] | None = None, tags: Sequence[str] = ()
    ) -> Sequence[RecalledMemory]:
        """What the tenant's long-term memory holds that fits best, by meaning and by words.

        Args:
            query: a text.
            k: how many at most, from 1 to 100.
            scopes: where to look; None: the agent's own and `all`.
            tags: those that a memory must have, all of them.

        Raises:
            RuntimeError: the skill runs in a process of its own.
            InvalidInputError: an argument is out of bounds.
            UnavailableError: the database does not answer.
        """
        return await self._recall.recall(query, k, self.tenant, self._own_scopes if scopes is None else scopes, tags)

    @property
    def _own_scopes(self) -> tuple[str, ...]:
        return (f"agent:{self.agent_id}", "all") if self.agent_id else ("all",)

    @property
    def _recall(self) -> SkillRecall:
        if self.clients is None:
            raise RuntimeError(
                "a skill in a process of its own has no long-term memory: use an async skill or a thread"
            )
        return self.clients.recall

    def span(self, name: str, **attributes: str | bool | int | float) -> NoSpan:
        """A span around a part of the skill, for `with` or `async with`: below the run's in its trace, where that is
        recorded; else it costs nothing. `span.set(name=value)` adds attributes; secrets in texts are masked."""
        return NO_SPAN if self.trace is None else self.trace.span(name, "internal", attributes)

    def model_call(self, provider: str, model: str, *, operation: str = "chat") -> ModelCall:
        """A call of a language model, for `with` or `async with`; say `call.used(input_tokens=…, output_tokens=…,
        money=…)` when it has answered. It is a span by OpenTelemetry's conventions for generative AI, counts in the
        metrics of models, and `used` counts as `spend`."""
        return ModelCall(provider, model, operation, self.trace, self._add_usage)

    @property
    def llm(self) -> SkillLlm:
        """The language model that SeedCore is set up with: `answer = await context.llm.complete("…")`. In a thread:
        `context.run(context.llm.complete("…"))`."""
        models = None if self.clients is None else self.clients.models
        return SkillLlm(models, self.task_id, self.tenant, self.trace, self._add_usage)

    async def progress(self, done: float, total: float | None, note: str | None = None) -> None:
        """Report how far this attempt is: it shows as a `progress` event of the task, the newest some four times a
        second. A task whose lease was lost shows none.

        Args:
            done: what is done, in a unit of the skill's own.
            total: what there is to do, in the same unit; None: it is not known.
            note: what it is at, for people.

        Raises:
            ValueError: `done` is negative, `total` not positive, one of them not finite, or `note` cannot be kept.
        """
        self.report_progress(done, total, note)

    def report_progress(self, done: float, total: float | None, note: str | None = None) -> None:
        """`progress` for a plain `def`, in a thread or a process."""
        report = progress_of(done, total, note)
        if self.sink is not None:
            self.sink.report(self.task_id, self.lease_token, report)

    @property
    def cancelled(self) -> bool:
        """For skills in a thread: True once the task was cancelled or timed out; return soon then."""
        return self.flag is not None and self.flag.cancelled

    def run(self, work: Coroutine[object, Any, Result]) -> Result:
        """For skills in a thread: run `work`, such as `context.memory.get("key")`, in the host's loop and wait for it.

        Raises:
            RuntimeError: the skill does not run in a thread: an async skill awaits `work`, a process has no loop.
        """
        if self.loop is None:
            work.close()
            raise RuntimeError("context.run is for skills in a thread; in an async skill, await the coroutine instead")
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()


def _sum(name: str, spent: float, value: float, limit: float) -> float:
    number = amount(f"spend: {name}", value)
    if spent + number > limit:
        raise ValueError(f"spend: {name} of one attempt must be at most {limit:g}, got {spent + number:g}")
    return spent + number
