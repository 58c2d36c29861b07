"""The span of a request that submits tasks: their own spans are below it, in whatever process those are made."""

import time
from collections.abc import Sequence

from seedcore.tasks.model import Submitted, TaskSpec
from seedcore.telemetry.traces import tracing
from seedcore.telemetry.traces.trace_context import TraceContext, parse_traceparent, run_span_id
from seedcore.telemetry.traces.tracing import Attribute, Tracing

_NO_LEASE = 0
"""No lease has this token: the id that it gives is the request's."""


class AcceptSpan:
    """A request whose trace is recorded, until its tasks are stored."""

    def __init__(self, by: Tracing, at: TraceContext, above: int, tasks: Sequence[TaskSpec], began_ns: int) -> None:
        self._tracing, self._at, self._above, self._tasks, self._began_ns = by, at, above, tasks, began_ns

    def end(self, submitted: Sequence[Submitted]) -> None:
        """The tasks are stored; a trace of a task that was there before has no other span."""
        created = sum(item.created for item in submitted)
        if not created and not self._above:
            return
        first = self._tasks[0]
        facts: dict[str, Attribute | None] = {
            "seedcore.tasks": len(submitted),
            "seedcore.tasks.created": created,
            "seedcore.tenant": first.tenant,
            "seedcore.queue": first.queue,
        }
        times = (self._began_ns, time.time_ns())
        self._tracing.record("accept tasks", self._at, self._above, times, facts, kind="server")


def begin_accept(tasks: Sequence[TaskSpec], began_ns: int) -> AcceptSpan | None:
    """The span of a request that submits these tasks, which they name as their caller; None when it is not recorded.

    A batch without a caller's trace has none: each of its tasks is the root of a trace of its own.
    """
    by = tracing.active()
    if by is None or not tasks:
        return None
    first = tasks[0]
    given, task_id = first.traceparent, first.id.int
    caller = parse_traceparent(given)
    if caller is None:
        if len(tasks) > 1 or not by.sampling.records(task_id):
            return None
        caller = TraceContext(task_id, 0, sampled=True)
    elif not by.sampling.follows(caller.trace_id, caller.sampled):
        return None
    at = TraceContext(caller.trace_id, run_span_id(task_id, _NO_LEASE), sampled=True)
    for task in tasks:
        if task.traceparent == given:
            task.traceparent = at.traceparent
    return AcceptSpan(by, at, caller.span_id, tasks, began_ns)
