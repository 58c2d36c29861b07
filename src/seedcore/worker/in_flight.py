"""What one dispatcher holds: its leases in flight and the writes that wait for the next flush."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from seedcore.tasks.model import Lease, Outcome, Retry
from seedcore.worker.decisions.report_collector import ReportCollector
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.ports import LeaseKey

MAX_REMEMBERED = 20_000
"""Released leases that are recognised when they come again; others are reported to the valves once more."""


UNANNOUNCED_S = 1.0
"""A task that has been held for longer is announced before it begins."""


@dataclass(slots=True)
class HeldLease:
    """A lease in flight.

    `taken`, `begun` and `answered` (its host has said how it ended) are times of the monotonic clock; `announced` says
    that its `started` event is written; `ran_s` is how long its skill ran.
    """

    lease: Lease
    taken: float = field(default_factory=time.monotonic)
    decision: RouteDecision | None = None
    begun: float | None = None
    announced: bool = False
    answered: float | None = None
    ran_s: float = 0.0

    @property
    def key(self) -> LeaseKey:
        """Its id and fencing token."""
        return self.lease.id, self.lease.token

    @property
    def late(self) -> bool:
        """Whether the deadline has passed since the claim, which `taken` stands for."""
        return self.lease.left_s is not None and time.monotonic() - self.taken >= self.lease.left_s


def held_for_long(tasks: Iterable[HeldLease]) -> list[HeldLease]:
    """Tasks to announce before they begin."""
    now = time.monotonic()
    return [held for held in tasks if not held.announced and now - held.taken > UNANNOUNCED_S]


class InFlight:
    """In memory only: everything here is a lease that the database knows, or a write that it will fence.

    Attributes:
        held: leases in flight by the task's id.
        outcomes, retries, released, moved: writes for the next flush; `moved` leases go to the slow lane.
        writing: leases whose write is on its way.
        ended: leases whose end or retry is not written, by token.
        slow: how many of `held` are of the slow lane.
        changed: set when there is something to write or room to claim.
        reports: what is reported to the Coordinator.
    """

    def __init__(self, reports: ReportCollector | None = None) -> None:
        self.held: dict[UUID, HeldLease] = {}
        self.outcomes: list[Outcome] = []
        self.retries: list[Retry] = []
        self.released: list[LeaseKey] = []
        self.moved: list[LeaseKey] = []
        self.slow = 0
        self.writing: set[LeaseKey] = set()
        self.ended: dict[int, HeldLease] = {}
        self.changed = asyncio.Event()
        self.reports = ReportCollector() if reports is None else reports
        self._remembered: OrderedDict[UUID, None] = OrderedDict()

    def add(self, leases: Sequence[Lease], *, slow: bool = False, sent_at: float | None = None) -> None:
        """Leases were claimed; `slow` says from which lane, `sent_at` when the claim was sent."""
        sent_at = time.monotonic() if sent_at is None else sent_at
        for lease in leases:
            lease.reported_to_valves = self._known_to_valves(lease, moved=slow and not lease.slow)
            self.held[lease.id] = HeldLease(lease, sent_at)
            self.slow += lease.slow

    def _known_to_valves(self, lease: Lease, *, moved: bool) -> bool:
        """The valves see what clients send, once: no retries, no steps of plans, nothing that was released or moved."""
        again = lease.attempt > 1 or lease.approved or lease.id in self._remembered
        return moved or again or lease.parent_id is not None

    def holds(self, held: HeldLease) -> bool:
        """Whether this very lease is still in flight."""
        return self.held.get(held.lease.id) is held

    def begin(self, task_id: UUID, decision: RouteDecision) -> None:
        """A lease was handed to an agent."""
        held = self.held.get(task_id)
        if held is None or decision.agent is None:
            return
        held.decision, held.begun = decision, time.monotonic()
        self.reports.sent(decision.agent, held.lease.type)

    def drop(self, task_id: UUID) -> HeldLease | None:
        """A lease ended, whatever way."""
        held = self.held.pop(task_id, None)
        if held is not None:
            self.slow -= held.lease.slow
        if held is not None and held.decision is not None and held.decision.agent is not None:
            self.reports.returned(held.decision.agent, held.lease.type)
        return held

    def finish(self, outcome: Outcome) -> None:
        """Write this end with the next flush."""
        self._end(outcome)
        self.outcomes.append(outcome)
        self.changed.set()

    def retry(self, retry: Retry) -> None:
        """Write this retry with the next flush."""
        self._end(retry)
        self.retries.append(retry)
        self.changed.set()

    def _end(self, attempt: Outcome | Retry) -> None:
        held = self.drop(attempt.id)
        if held is not None:
            self.ended[attempt.token] = held

    def release(self, lease: Lease, *, slow: bool = False) -> None:
        """Release this lease with the next flush; `slow` lets the task wait in the slow lane."""
        self.drop(lease.id)
        if lease.reported_to_valves:
            self._remembered[lease.id] = None
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        (self.moved if slow else self.released).append((lease.id, lease.token))
        self.changed.set()

    @property
    def pending(self) -> int:
        """Writes that wait for the next flush."""
        return len(self.outcomes) + len(self.retries) + len(self.released) + len(self.moved)

    @property
    def ends_unwritten(self) -> bool:
        """Whether attempts ended, or failed, of which the database does not know yet."""
        return bool(self.outcomes or self.retries or self.writing)

    def writes(self, key: LeaseKey) -> bool:
        """Whether a write for this lease waits for a flush, or is on its way."""
        return (
            key in self.writing
            or key in self.released
            or key in self.moved
            or any((o.id, o.token) == key for o in self.outcomes)
            or any((r.id, r.token) == key for r in self.retries)
        )

    def tokens(self) -> set[int]:
        """Tokens of every lease in hand, and of those whose write waits or is on its way."""
        keys = [*self.released, *self.moved, *self.writing]
        found = {held.lease.token for held in self.held.values()} | {token for _, token in keys}
        return found | {outcome.token for outcome in self.outcomes} | {retry.token for retry in self.retries}

    def clear(self) -> None:
        """The session was lost, and every lease with it."""
        self.held.clear()
        self.outcomes.clear()
        self.retries.clear()
        self.released.clear()
        self.moved.clear()
        self.ended.clear()
        self.slow = 0
        self.reports.forget_outstanding()
