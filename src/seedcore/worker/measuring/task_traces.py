"""The spans of a task around its runs, made from times that are known when an attempt has ended."""

import time
from datetime import datetime

from seedcore.tasks.model import Lease
from seedcore.telemetry.traces import tracing
from seedcore.telemetry.traces.trace_context import (
    TraceContext,
    parse_traceparent,
    run_span_id,
    submit_span_id,
)
from seedcore.telemetry.traces.tracing import Attribute, Tracing, wall_ns
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.in_flight import HeldLease

Facts = dict[str, Attribute | None]


class TaskTraces:
    """What one dispatcher records; a task whose trace is not recorded costs a comparison.

    Args:
        worker: the dispatcher's name.
        by: the tracing; None: that of this process, or none.
    """

    def __init__(self, worker: str, by: Tracing | None = None) -> None:
        self._worker, self._tracing = worker, by or tracing.active()
        self._records = None if self._tracing is None else self._tracing.sampling.records

    def carried(self, lease: Lease) -> str | None:
        """The `traceparent` of a task's calls (see `host_protocol.Call`)."""
        if lease.traceparent is None and lease.parent_id is None:
            records = self._records
            if records is None or not records(lease.id.int):
                lease.recorded = False
                return None
        context = self._context(lease)[0]
        lease.recorded = context.sampled
        return context.traceparent

    def ended(
        self, held: HeldLease, failure: tuple[str, str] | None, *, pause_s: float | None = None, lost: bool = False
    ) -> None:
        """An attempt is over.

        Args:
            held: its lease.
            failure: code and message; None: it completed.
            pause_s: until the next attempt; None: there is none.
            lost: its host said nothing of the run, so its span is made here.
        """
        if held.lease.recorded is False or (at := self._recorded(held.lease)) is None:
            return
        ended = time.time_ns()
        decision = held.decision
        self._before(held, decision, at, ended, error=failure if held.begun is None else None)
        if lost and held.begun is not None:
            began, host = wall_ns(held.begun), None if decision is None else decision.host
            facts: Facts = {"seedcore.attempt": held.lease.attempt, "seedcore.host": host}
            span = run_span_id(held.lease.id.int, held.lease.token)
            self._record(f"run {held.lease.type}", held.lease, at, span, (began, ended), facts, failure)
        if pause_s is not None:
            self._wait(held.lease, at, "retry", ended, ended + int(pause_s * 1e9))

    def held_for_approval(self, held: HeldLease, decision: RouteDecision) -> None:
        """A task waits for a person from now on."""
        if (at := self._recorded(held.lease)) is not None:
            self._before(held, decision, at, time.time_ns())

    def planned(self, held: HeldLease, decision: RouteDecision, steps: int) -> None:
        """A task has become a plan's parent."""
        if (at := self._recorded(held.lease)) is not None:
            now = time.time_ns()
            self._before(held, decision, at, now, facts={"seedcore.plan.steps": steps})

    def _recorded(self, lease: Lease) -> TraceContext | None:
        """The span that the others are below; None when the trace is not recorded."""
        if lease.recorded is None:
            self.carried(lease)
        return self._context(lease)[0] if lease.recorded else None

    def _context(self, lease: Lease) -> tuple[TraceContext, int]:
        """The submit span of a task, and the id of the span above it."""
        by, own = self._tracing, submit_span_id(lease.id.int)
        root, above = (
            (lease.id, 0) if lease.parent_id is None else (lease.parent_id, submit_span_id(lease.parent_id.int))
        )
        caller = parse_traceparent(lease.traceparent)
        if caller is None:
            return TraceContext(root.int, own, by is not None and by.sampling.records(root.int)), above
        recorded = by is not None and by.sampling.follows(caller.trace_id, caller.sampled)
        return TraceContext(caller.trace_id, own, recorded), above or caller.span_id

    def _before(
        self,
        held: HeldLease,
        decision: RouteDecision | None,
        at: TraceContext,
        ended: int,
        *,
        facts: Facts | None = None,
        error: tuple[str, str] | None = None,
    ) -> None:
        """The spans until the run: the submission and the wait before the first attempt, and the decision."""
        lease, claimed = held.lease, min(wall_ns(held.taken), ended)
        if lease.attempt == 1 and not lease.approved:
            created, due = _ns(lease.created_at), _ns(lease.run_after or lease.created_at)
            self._submitted(lease, at, created)
            if due > created:
                self._wait(lease, at, "deferred", created, min(due, claimed))
            begin = max(created, due)
            # What was submitted later by another clock than this one has not waited.
            self._wait(lease, at, _reason(lease), min(begin, claimed), claimed)
        decided = ended if held.begun is None else wall_ns(held.begun)
        known: Facts = {"seedcore.worker": self._worker}
        if decision is not None:
            known |= {
                "seedcore.route": decision.route,
                "seedcore.rule": decision.rule,
                "seedcore.reason": decision.reason,
                "seedcore.agent": decision.agent,
                "seedcore.host": decision.host,
                "seedcore.delta_energy": decision.delta_energy,
                "seedcore.evidence": decision.evidence,
                "seedcore.snapshot_age_s": decision.snapshot_age_s,
            }
        self._record("decide", lease, at, _other(at, lease.token, 1), (claimed, decided), known | (facts or {}), error)

    def _submitted(self, lease: Lease, at: TraceContext, created: int) -> None:
        facts: Facts = {
            "seedcore.task.id": str(lease.id),
            "seedcore.task.type": lease.type,
            "seedcore.queue": lease.queue,
            "seedcore.tenant": lease.tenant,
            "seedcore.priority": lease.priority,
            "seedcore.parent.id": None if lease.parent_id is None else str(lease.parent_id),
        }
        above = self._context(lease)[1]
        assert self._tracing is not None
        self._tracing.record(f"submit {lease.type}", at, above, (created, created), facts, kind="producer")

    def _wait(self, lease: Lease, at: TraceContext, reason: str, begin: int, end: int) -> None:
        facts: Facts = {"seedcore.wait.reason": reason, "seedcore.queue": lease.queue}
        if reason == "limit":
            facts["seedcore.limit.key"] = lease.limit_key
        span = _other(at, lease.token, {"deferred": 2, "retry": 3}.get(reason, 4))
        self._record(f"wait ({reason})", lease, at, span, (begin, end), facts, None)

    def _record(
        self,
        name: str,
        lease: Lease,
        at: TraceContext,
        span_id: int,
        times: tuple[int, int],
        facts: Facts,
        error: tuple[str, str] | None,
    ) -> None:
        assert self._tracing is not None
        facts["seedcore.task.id"] = str(lease.id)
        self._tracing.record(
            name, TraceContext(at.trace_id, span_id, sampled=True), at.span_id, times, facts, error=error
        )


def _reason(lease: Lease) -> str:
    """Why a task that was due had to wait, as far as its lease says."""
    if lease.limit_key is not None:
        return "limit"
    return "steps" if lease.bindings else "queue"


def _other(at: TraceContext, token: int, which: int) -> int:
    return run_span_id(at.span_id ^ which, token)


def _ns(at: datetime) -> int:
    return int(at.timestamp() * 1e9)
