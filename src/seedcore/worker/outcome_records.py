"""Turns decisions, failures and what hosts report into what PostgreSQL can store."""

from collections.abc import Sequence

import orjson

from seedcore.skills.context import MAX_MONEY, MAX_TOKENS
from seedcore.skills.host_protocol import Call, Completion
from seedcore.tasks.model import Lease, Usage
from seedcore.tasks.submission.tenancy import trace_id
from seedcore.telemetry.logs import mask
from seedcore.worker.decisions.route_decision import RouteDecision

MAX_CODE, MAX_MESSAGE, MAX_REASON = 100, 2000, 300
MAX_SECONDS = 1e7

MAX_NAMED = 10
"""Tasks of a batch that a log line names."""


def call_of(lease: Lease, agent: str, params: str, traceparent: str | None = None) -> Call:
    """The attempt of a lease at `agent`; `traceparent` as `Call` has it."""
    task_id, key = str(lease.id), lease.idempotency_key or str(lease.id)
    timeout_s = lease.timeout_s
    return Call(
        task_id, lease.token, lease.attempt, lease.type, params, agent, timeout_s, key, lease.tenant, traceparent
    )


def bounded(completion: Completion) -> Completion:
    """`completion` itself when the time and spending that it reports are possible; else with the nearest possible ones.

    A host of another release, or a clock that jumped, may report anything, and it must not spoil shared sums.
    """
    seconds, usage = _within(completion.seconds, MAX_SECONDS), completion.usage
    if usage is not None:
        usage = _within(usage[0], MAX_TOKENS), _within(usage[1], MAX_MONEY)
    if (seconds, usage) == (completion.seconds, completion.usage):
        return completion
    return completion._replace(seconds=seconds, usage=usage)


def _within(value: object, limit: float) -> float:
    """0 for NaN and for what is no number."""
    return min(max(value, 0.0), limit) if isinstance(value, int | float) and value == value else 0.0


def usage_of(completion: Completion) -> Usage | None:
    """What an attempt reported that it spent."""
    return None if completion.usage is None else Usage(*completion.usage)


def own_plan_reason(decision: RouteDecision, why: str) -> tuple[str, str]:
    """Rule and reason of a task whose plan is the task itself."""
    return decision.rule, f"{decision.reason}; {why}"


def with_reason(lease: Lease, decision: RouteDecision) -> RouteDecision:
    """`decision` with the reason why the task runs without a plan, where a plan was wanted."""
    if lease.unplanned is None:
        return decision
    rule, reason = lease.unplanned
    return decision._replace(rule=rule, reason=f"{reason}; {decision.reason}")


def decision_text(decision: RouteDecision) -> str:
    """A decision as JSON text."""
    record = decision.record()
    try:
        text: str = orjson.dumps(record).decode()
    except TypeError:  # a lone surrogate
        record = {
            name: storable(value, MAX_REASON) if isinstance(value, str) else value for name, value in record.items()
        }
        text = orjson.dumps(record).decode()
    return text


def failure_text(code: str, message: str) -> tuple[str, str]:
    """Code and message of a failure, without secrets."""
    return storable(code, MAX_CODE), storable(mask(message), MAX_MESSAGE)


def reason_text(message: str) -> str:
    """A message as part of a decision's reason, without secrets."""
    return storable(mask(message), MAX_REASON)


def storable(text: str, limit: int) -> str:
    """`text` as PostgreSQL can store it: what it cannot store would hold up every write of this dispatcher."""
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")[:limit]


def reason_of(error: Exception) -> str:
    """An error in one line, for the log and for the task."""
    return f"{type(error).__name__}: {error}"


def lease_fields(lease: Lease) -> dict[str, object]:
    """What names a task in a log."""
    trace = trace_id(str(lease.parent_id or lease.id), lease.traceparent)
    return {"task": str(lease.id), "trace": trace, "tenant": lease.tenant, "type": lease.type}


def batch_fields(leases: Sequence[Lease]) -> dict[str, object]:
    """What names a batch in a log: how many tasks, and the first of them."""
    return {"tasks": len(leases), "first_tasks": [str(lease.id) for lease in leases[:MAX_NAMED]]}
