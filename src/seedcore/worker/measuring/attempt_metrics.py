"""Counts claims and the ends of attempts, a whole batch at once: no call of a metric is made for a single task.

Times of the database and of this process are compared as they are; where clocks differ, a wait below 0 counts as 0.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from seedcore.tasks.model import Lease, Outcome, Retry, Status, Usage
from seedcore.telemetry.metrics import counter, histogram
from seedcore.worker.in_flight import HeldLease

_WAITS, _STARTS = histogram("seedcore_task_wait_seconds"), histogram("seedcore_task_start_seconds")
_RUNS, _TOTALS = histogram("seedcore_task_run_seconds"), histogram("seedcore_task_total_seconds")
_CLAIMS = histogram("seedcore_claim_seconds")
_ATTEMPTS, _DEAD = counter("seedcore_attempts_total"), counter("seedcore_dead_total")
_EXPECTED = counter("seedcore_energy_expected_seconds_total")
_REALISED = counter("seedcore_energy_realised_seconds_total")
_STALE, _LOST = counter("seedcore_stale_writes_total"), counter("seedcore_leases_lost_total")
_SPENT = counter("seedcore_plan_spent_total")


@dataclass(slots=True)
class _Ends:
    """The ends of one queue and type."""

    starts: list[float] = field(default_factory=list)
    runs: list[float] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    expected_s: float = 0.0
    realised_s: float = 0.0


def count_claim(queue: str, batch: Sequence[Lease], seconds: float) -> None:
    """A claim took so long and gave `batch`.

    Only of first attempts of tasks that waited for nothing else is it known when they were due.
    """
    _CLAIMS.observe_all({(queue,): (seconds,)})
    now, waits = time.time(), dict[str, list[float]]()
    for lease in batch:
        if lease.attempt == 1 and lease.parent_id is None and not lease.approved:
            due = lease.created_at if lease.run_after is None else max(lease.created_at, lease.run_after)
            waited = now - due.timestamp()
            known = waits.get(lease.type)
            if known is None:
                waits[lease.type] = [waited]
            else:
                known.append(waited)
    if waits:
        _WAITS.observe_all({(queue, name): seconds for name, seconds in waits.items()})


def count_ends(
    operation: str,
    written: Sequence[Outcome] | Sequence[Retry],
    accepted: set[UUID],
    ended: dict[int, HeldLease],
) -> int:
    """Attempts were written; returns how many writes were refused, because the lease had been lost.

    `ended` has their leases by token, and loses them.
    """
    now, stale, found = time.time(), 0, dict[tuple[str, str], _Ends]()
    for attempt in written:
        held = ended.pop(attempt.token, None)
        if attempt.id not in accepted:
            stale += 1
        elif held is not None:
            lease = held.lease
            key = lease.queue, lease.type
            ends = found.get(key)
            if ends is None:
                ends = found[key] = _Ends()
            _add(ends, attempt, held, now)
            if attempt.usage is not None:
                _spent(lease, attempt.usage)
    if stale:
        _STALE.add(stale, operation=operation)
    if found:
        _report(found)
    return stale


def _add(ends: _Ends, attempt: Outcome | Retry, held: HeldLease, now: float) -> None:
    if held.answered is not None:
        ran_s = held.ran_s
        ends.runs.append(ran_s)
        ends.starts.append(held.answered - ran_s - held.taken)
        decision = held.decision
        if decision is not None and decision.delta_energy is not None:
            ends.expected_s += decision.expected_s
            ends.realised_s += ran_s
    if isinstance(attempt, Retry):
        outcome = "retried"
    else:
        ends.totals.append(now - held.lease.created_at.timestamp())
        outcome = "completed"
        if attempt.status is not Status.COMPLETED:
            outcome, code = "failed", attempt.error_code or "failed"
            ends.codes[code] = ends.codes.get(code, 0) + 1
    ends.outcomes[outcome] = ends.outcomes.get(outcome, 0) + 1


def _report(found: Mapping[tuple[str, str], _Ends]) -> None:
    answered = {key: ends for key, ends in found.items() if ends.runs}
    if answered:
        _STARTS.observe_all({key: ends.starts for key, ends in answered.items()})
        _RUNS.observe_all({key: ends.runs for key, ends in answered.items()})
    if totals := {key: ends.totals for key, ends in found.items() if ends.totals}:
        _TOTALS.observe_all(totals)
    _ATTEMPTS.add_all({(*key, how): n for key, ends in found.items() for how, n in ends.outcomes.items()})
    if dead := {(*key, code): n for key, ends in found.items() for code, n in ends.codes.items()}:
        _DEAD.add_all(dead)
    priced: dict[str, tuple[float, float]] = {}
    for (_, name), ends in found.items():
        if ends.expected_s or ends.realised_s:
            expected_s, realised_s = priced.get(name, (0.0, 0.0))
            priced[name] = expected_s + ends.expected_s, realised_s + ends.realised_s
    if priced:
        _EXPECTED.add_all({(name,): expected_s for name, (expected_s, _) in priced.items()})
        _REALISED.add_all({(name,): realised_s for name, (_, realised_s) in priced.items()})


def _spent(lease: Lease, usage: Usage) -> None:
    """An attempt reports what it has spent. By model it was counted where the skill ran."""
    if lease.parent_id is not None:
        _SPENT.add(usage.tokens, unit="tokens")
        _SPENT.add(usage.money, unit="money")


def count_stale(operation: str, refused: int) -> None:
    """So many writes changed nothing, because the lease had been lost."""
    if refused > 0:
        _STALE.add(refused, operation=operation)


def count_lost(reason: str, leases: int) -> None:
    """Leases in hand turned out to be lost: by `cancelled`, `gone` (the heartbeat found it) or `session`."""
    if leases > 0:
        _LOST.add(leases, reason=reason)
