"""Tasks, plans and events as JSON, as the API shows them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import orjson

from seedcore.tasks.events.event_log import LogEntry
from seedcore.tasks.model import TaskEvent
from seedcore.tasks.queries import TaskRecord
from seedcore.utils.pg_json import unreadable


def task_json(record: TaskRecord) -> bytes:
    """A task in the shape fixed by the contract (plus `timeout_s`, `step` and more), as JSON.

    Values are written as PostgreSQL keeps them. One that common readers of JSON cannot read is null, and `unreadable`
    says why: such a task must not cost its neighbours their page.
    """
    texts = {
        "params": record.params_text,
        "result": record.result_text,
        "decision": record.decision_text,
        "errors": record.errors_text,
    }
    wrong = {name: why for name, text in texts.items() if text is not None and (why := unreadable(text))}
    shown = {name: None if text is None or name in wrong else orjson.Fragment(text) for name, text in texts.items()}
    fields = {
        "id": str(record.id),
        "type": record.type,
        "params": shown["params"],
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
        "result": shown["result"],
        "error": record.error,
        "decision": shown["decision"],
        "parent_id": str(record.parent_id) if record.parent_id else None,
        "step": record.step,
        "deadline": _time(record.deadline),
        "limit_key": record.limit_key,
        "errors": shown["errors"],
    }
    return orjson.dumps(fields | ({"unreadable": wrong} if wrong else {}))


def page_json(found: Sequence[TaskRecord], limit: int) -> bytes:
    """The first `limit` tasks found as a page; `next_cursor` is null when there are no more."""
    page = found[:limit]
    cursor = str(page[-1].id) if len(found) > limit else None
    return orjson.dumps({"items": [orjson.Fragment(task_json(record)) for record in page], "next_cursor": cursor})


def plan_json(task_id: UUID, steps: Sequence[TaskRecord], terms: Mapping[str, object] | None) -> bytes:
    """The steps that a task was planned into, with what holds for the plan."""
    shown = [orjson.Fragment(task_json(step)) for step in steps]
    return orjson.dumps({"id": str(task_id), "steps": shown, **(terms or {})})


def event_json(event: TaskEvent) -> dict[str, object]:
    """An event as a server-sent event's `id`, `event` and `data`."""
    data = {"task_id": str(event.task_id), "at": _time(event.at), **event.data}
    return {"id": event.id, "event": event.event, "data": data}


def entry_json(entry: LogEntry) -> dict[str, object]:
    """An entry of the log as a server-sent event's `id`, `event` and `data`."""
    data = {"task_ids": [str(i) for i in entry.task_ids], "at": _time(entry.at), **entry.data}
    return {"id": str(entry.position), "event": entry.event, "data": data}


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()
