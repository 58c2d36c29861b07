"""What one dispatcher holds: its leases in flight, the acknowledgements to write, the feedback to give."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from uuid import UUID

from seedcore.changepoint.features import outcome_features
from seedcore.pricing.outcome_sums import Sums
from seedcore.skills.host_protocol import Completion
from seedcore.tasks.model import Lease, Outcome, Retry
from seedcore.worker.ports import Decision, Feedback, Watched
from seedcore.worker.stream_samples import OUTCOMES

MAX_REMEMBERED = 20_000
"""Leases given back that are known again when they come again; others are told to the valves once more."""


@dataclass(slots=True)
class Held:
    """A lease in flight."""

    lease: Lease
    taken: float = field(default_factory=time.monotonic)
    decision: Decision | None = None
    begun: float | None = None
    announced: bool = False

    @property
    def late(self) -> bool:
        """Whether the deadline has passed since the claim, which `taken` stands for."""
        return self.lease.left_s is not None and time.monotonic() - self.taken >= self.lease.left_s


class Ledger:
    """In memory only: everything here is either a lease that the database knows, or a write that it will fence."""

    def __init__(self) -> None:
        self.held: dict[UUID, Held] = {}
        self.outcomes: list[Outcome] = []
        self.retries: list[Retry] = []
        self.released: list[tuple[UUID, int]] = []
        self.moved: list[tuple[UUID, int]] = []
        self.slow = 0
        self.writing: set[tuple[UUID, int]] = set()
        self.changed = asyncio.Event()
        self._feedback = Feedback()
        self._undecided: set[int] = set()
        self._left_out: set[tuple[str, str]] = set()
        self._remembered: OrderedDict[UUID, None] = OrderedDict()

    def take(self, leases: list[Lease], *, slow: bool = False, asked: float | None = None) -> None:
        """Leases were claimed; `slow` says from which lane, `asked` when the claim was sent."""
        asked = time.monotonic() if asked is None else asked
        for lease in leases:
            lease.told = self._seen(lease, moved=slow and not lease.slow)
            self.held[lease.id] = Held(lease, asked)
            self.slow += lease.slow

    def _seen(self, lease: Lease, *, moved: bool) -> bool:
        """The valves see what clients send, once: no retries, no steps of plans, nothing that was put off or moved."""
        again = lease.attempt > 1 or lease.approved or lease.id in self._remembered
        return moved or again or lease.parent_id is not None

    def begin(self, task_id: UUID, decision: Decision) -> None:
        """A lease was handed to an agent."""
        held = self.held.get(task_id)
        if held is None or decision.agent is None:
            return
        held.decision, held.begun = decision, time.monotonic()
        key = (decision.agent, held.lease.type)
        self._feedback.outstanding[key] = self._feedback.outstanding.get(key, 0) + 1

    def learn(self, completion: Completion, decision: Decision | None = None, domain: str | None = None) -> None:
        """An agent answered: its time and success become feedback, beside what was expected of it."""
        self._watch((domain, completion.skill), completion)
        key = (completion.agent, completion.skill)
        count, seconds, good = self._feedback.outcomes.get(key, (0, 0.0, 0))
        self._feedback.outcomes[key] = (count + 1, seconds + completion.seconds, good + completion.ok)
        if completion.usage is not None and (money := completion.usage[1]) > 0:
            count, so_far = self._feedback.spent.get(key, (0, 0.0))
            self._feedback.spent[key] = (count + 1, so_far + money)
        if decision is not None and (expected := decision.expected) is not None:
            energy = self._feedback.energy
            told = energy.get(completion.skill)
            if told is None:
                told = energy[completion.skill] = Sums()
            told.add(expected, completion.seconds, completion.ok)

    def _watch(self, stream: tuple[str | None, str], completion: Completion) -> None:
        watched = self._feedback.watched.get(stream)
        if watched is None:
            watched = self._feedback.watched[stream] = Watched()
        watched.seen += 1
        if len(watched.rows) < OUTCOMES:
            error = None if completion.ok else completion.error_code or "failed"
            watched.rows.append(outcome_features(completion.seconds, completion.ok, error))

    def unplanned(self) -> None:
        """A task runs as it is because no plan was to be had."""
        self._feedback.unplanned += 1

    def drop(self, task_id: UUID) -> Held | None:
        """A lease ended, whatever way."""
        held = self.held.pop(task_id, None)
        if held is not None:
            self.slow -= held.lease.slow
        if held is not None and held.decision is not None and held.decision.agent is not None:
            key = (held.decision.agent, held.lease.type)
            left = self._feedback.outstanding.get(key, 1) - 1
            if left > 0:
                self._feedback.outstanding[key] = left
            else:
                self._feedback.outstanding.pop(key, None)
        return held

    def end(self, outcome: Outcome) -> None:
        """Write this end with the next flush."""
        self.drop(outcome.id)
        self.outcomes.append(outcome)
        self.changed.set()

    def again(self, retry: Retry) -> None:
        """Put this attempt off with the next flush."""
        self.drop(retry.id)
        self.retries.append(retry)
        self.changed.set()

    def give_back(self, lease: Lease, *, slow: bool = False) -> None:
        """Give this lease back with the next flush; `slow` lets it wait in the slow lane."""
        self.drop(lease.id)
        if lease.told:
            self._remembered[lease.id] = None
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        (self.moved if slow else self.released).append((lease.id, lease.token))
        self.changed.set()

    def ask(self, *, report: bool = True) -> Feedback:
        """What goes to the Coordinator with a question; outcomes are handed out once, and only with a `report`.
        `answered` or `unanswered` follows."""
        known = self._feedback
        question = known.question = known.question + 1
        outstanding = {key: count for key, count in known.outstanding.items() if key not in self._left_out}
        undecided = tuple(self._undecided)
        self._undecided.add(question)
        if not report:
            return Feedback(outstanding, question=question, undecided=undecided)
        asked = replace(known, outstanding=outstanding, undecided=undecided)
        known.outcomes, known.energy, known.watched, known.spent = {}, {}, {}, {}
        known.unplanned = known.dropped = 0
        return asked

    def dropped(self) -> None:
        """An item of a report was dropped: the Coordinator refuses it."""
        self._feedback.dropped += 1

    def leave_out(self, key: tuple[str, str]) -> None:
        """The Coordinator refuses to hear what waits for this (agent, type): questions go on without it."""
        self._left_out.add(key)

    def answered(self, question: int) -> None:
        """What the answer sends to agents is in hand from now on: see `begin`."""
        self._undecided.discard(question)

    def unanswered(self, told: Feedback) -> None:
        """The question failed: tell these outcomes with the next one."""
        self._undecided.discard(told.question)
        self._feedback.unplanned += told.unplanned
        self._feedback.dropped += told.dropped
        for key, (count, seconds, good) in told.outcomes.items():
            n, s, g = self._feedback.outcomes.get(key, (0, 0.0, 0))
            self._feedback.outcomes[key] = (n + count, s + seconds, g + good)
        for key, (count, money) in told.spent.items():
            n, m = self._feedback.spent.get(key, (0, 0.0))
            self._feedback.spent[key] = (n + count, m + money)
        for task_type, sums in told.energy.items():
            self._feedback.energy.setdefault(task_type, Sums()).join(sums)
        for stream, watched in told.watched.items():
            again = self._feedback.watched.setdefault(stream, Watched())
            again.seen += watched.seen
            again.rows = (watched.rows + again.rows)[:OUTCOMES]

    @property
    def pending(self) -> int:
        """Writes that wait for the next flush."""
        return len(self.outcomes) + len(self.retries) + len(self.released) + len(self.moved)

    @property
    def ends_unwritten(self) -> bool:
        """Whether attempts ended, or failed, of which the database does not know yet."""
        return bool(self.outcomes or self.retries or self.writing)

    def writes(self, task_id: UUID, token: int) -> bool:
        """Whether a write for this lease waits for a flush, or is on its way."""
        key = (task_id, token)
        return (
            key in self.writing
            or key in self.released
            or key in self.moved
            or any((o.id, o.token) == key for o in self.outcomes)
            or any((r.id, r.token) == key for r in self.retries)
        )

    def clear(self) -> None:
        """The session was lost: every lease of it is worth nothing."""
        self.held.clear()
        self.outcomes.clear()
        self.retries.clear()
        self.released.clear()
        self.moved.clear()
        self.slow = 0
        self._feedback.outstanding.clear()
        self._left_out.clear()
        self._undecided.clear()
