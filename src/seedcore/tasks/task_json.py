"""Tasks, plans and events as JSON, as the API shows them.

Without `payloads`, for those who may not see what tasks carry, that is null, and `payloads_hidden` says so.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import orjson

from seedcore.tasks.events.event_log import LogEntry
from seedcore.tasks.model import TaskEvent
from seedcore.tasks.queries import TaskRecord
from seedcore.tasks.submission.tenancy import trace_id
from seedcore.utils.pg_json import unreadable

_FACTS = frozenset(
    {
        *("task_id", "task_ids", "at", "attempt", "by", "code", "counted", "delay_s", "done", "total", "was", "how"),
        *("expires_at", "on_expiry", "released", "skill", "skipped", "steps", "without"),
    }
)
"""What data of events say of a task beside what its skill and its errors said."""


def task_json(record: TaskRecord, payloads: bool = True) -> bytes:
    """A task in the shape fixed by the contract (plus `timeout_s`, `step` and more), as JSON.

    Values are written as PostgreSQL keeps them. One that common readers of JSON cannot read is null, and `unreadable`
    says why: such a task must not cost its neighbours their page.
    """
    texts = _texts(record) if payloads else _hidden(record)
    error = record.error
    if not payloads and error is not None:
        error = {**error, "message": None}
    wrong = {name: why for name, text in texts.items() if text is not None and (why := unreadable(text))}
    shown = {name: None if text is None or name in wrong else orjson.Fragment(text) for name, text in texts.items()}
    task_id = str(record.id)
    fields: dict[str, object] = {
        "id": task_id,
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
        "error": error,
        "decision": shown["decision"],
        "parent_id": str(record.parent_id) if record.parent_id else None,
        "step": record.step,
        "deadline": _time(record.deadline),
        "limit_key": record.limit_key,
        "limits": record.limits or None,
        "errors": shown["errors"],
        "usage": record.usage,
        "tenant": record.tenant,
        "trace_id": trace_id(str(record.parent_id or task_id), record.traceparent),
    }
    if wrong:
        fields["unreadable"] = wrong
    if not payloads:
        fields["payloads_hidden"] = True
    return orjson.dumps(fields)


def _texts(record: TaskRecord) -> dict[str, str | None]:
    return {
        "params": record.params_text,
        "result": record.result_text,
        "decision": record.decision_text,
        "errors": record.errors_text,
    }


def _hidden(record: TaskRecord) -> dict[str, str | None]:
    """The same without what the task carries; None also where that cannot be read."""
    decision = errors = None
    if record.decision_text is not None and not unreadable(record.decision_text):
        decision = json.dumps({**json.loads(record.decision_text), "reason": None, "evidence": None})
    if not unreadable(record.errors_text):
        errors = json.dumps([{**error, "message": None} for error in record.errors])
    return {"params": None, "result": None, "decision": decision, "errors": errors}


def page_json(found: Sequence[TaskRecord], limit: int, payloads: bool = True) -> bytes:
    """The first `limit` tasks found as a page; `next_cursor` is null when there are no more."""
    page = found[:limit]
    cursor = str(page[-1].id) if len(found) > limit else None
    items = [orjson.Fragment(task_json(record, payloads)) for record in page]
    return orjson.dumps({"items": items, "next_cursor": cursor})


def plan_json(
    task_id: UUID, steps: Sequence[TaskRecord], terms: Mapping[str, object] | None, payloads: bool = True
) -> bytes:
    """The steps that a task was planned into, with what holds for the plan."""
    shown = [orjson.Fragment(task_json(step, payloads)) for step in steps]
    return orjson.dumps({"id": str(task_id), "steps": shown, **(terms or {})})


def event_json(event: TaskEvent, payloads: bool = True) -> dict[str, object]:
    """An event as a server-sent event's `id`, `event` and `data`."""
    data = {"task_id": str(event.task_id), "at": _time(event.at), **event.data}
    return {"id": event.id, "event": event.event, "data": data if payloads else _facts(data)}


def entry_json(entry: LogEntry, payloads: bool = True) -> dict[str, object]:
    """An entry of the log as a server-sent event's `id`, `event` and `data`."""
    data = {"task_ids": [str(i) for i in entry.task_ids], "at": _time(entry.at), **entry.data}
    return {"id": str(entry.position), "event": entry.event, "data": data if payloads else _facts(data)}


def _facts(data: Mapping[str, object]) -> dict[str, object]:
    hidden = {"payloads_hidden": True} if data.keys() - _FACTS else {}
    return {name: value if name in _FACTS else None for name, value in data.items()} | hidden


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()
