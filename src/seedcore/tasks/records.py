"""Tasks and events as the API shows them."""

from typing import Any

from seedcore.tasks.log import LogEntry
from seedcore.tasks.model import Event
from seedcore.tasks.queries import TaskRecord


def task_json(record: TaskRecord) -> dict[str, Any]:
    """A task in the shape fixed by the contract (plus `timeout_s` and `step`)."""
    return {
        "id": str(record.id),
        "type": record.type,
        "params": record.params,
        "status": str(record.status),
        "domain": record.domain,
        "priority": record.priority,
        "queue": record.queue,
        "idempotency_key": record.idempotency_key,
        "attempts": record.attempts,
        "max_attempts": record.max_attempts,
        # PostgreSQL keeps a `real`: 0.1 would come back as 0.10000000149.
        "timeout_s": None if record.timeout_s is None else float(f"{record.timeout_s:.7g}"),
        "run_after": _time(record.run_after),
        "created_at": _time(record.created_at),
        "started_at": _time(record.started_at),
        "finished_at": _time(record.finished_at),
        "result": record.result,
        "error": record.error,
        "decision": record.decision,
        "parent_id": str(record.parent_id) if record.parent_id else None,
        "step": record.step,
        "deadline": _time(record.deadline),
        "limit_key": record.limit_key,
        "errors": record.errors,
    }


def event_json(event: Event) -> dict[str, Any]:
    """An event as a server-sent event's `id`, `event` and `data`."""
    data = {"task_id": str(event.task_id), "at": _time(event.at), **event.data}
    return {"id": event.id, "event": event.event, "data": data}


def entry_json(entry: LogEntry) -> dict[str, Any]:
    """An entry of the log as a server-sent event's `id`, `event` and `data`."""
    data = {"task_ids": [str(i) for i in entry.task_ids], "at": _time(entry.at), **entry.data}
    return {"id": str(entry.position), "event": entry.event, "data": data}


def _time(value: Any) -> str | None:
    return None if value is None else value.isoformat()
