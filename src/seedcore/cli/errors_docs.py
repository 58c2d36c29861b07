"""docs/errors.md, made from the error classes and the failure codes, so that page and code cannot disagree."""

from collections.abc import Iterator, Mapping

from seedcore import errors
from seedcore.changepoint import thresholds
from seedcore.cli.launch import background
from seedcore.client import errors as client_errors
from seedcore.llm import model_errors
from seedcore.tasks.failure_codes import NOTES, FailureCode
from seedcore.worker.execution import process_pool

INTRODUCTION = """\
# Errors

A code is stable; texts are not. This page is generated: `make docs` writes it again.

## Errors of requests

Over HTTP an error is an RFC 9457 problem document with `status`, `code`, a `detail` that says what to change, and for
wrong fields `errors: [{field, message}]`. Python raises the same error as an exception. `Retry-After` says when to try
again.

"""
TASKS = """
## Failures of tasks

A task that failed or was cancelled has `error: {code, message}`; a `retried` event has the same `code`. *retried* means
that the task runs again after a pause while attempts are left, and fails with this code after the last one. A task may
also carry the code of an error that its skill raised: one of the table above, or the skill's own.

"""
DEFINED_IN = (errors, thresholds, background, client_errors, process_pool, model_errors)
"""Modules that define errors with a code: `known_errors` knows a class once its module is imported."""

MEANINGS = {
    "http_error": "Any other HTTP failure.",
    "internal_error": "Something failed that SeedCore did not expect.",
    "start_failed": "A part of SeedCore did not come up, or ended before SeedCore was ready.",
}
"""Of codes whose class says something else first, or that have no class."""

ACTIONS: Mapping[str, str] = {
    "action_failed": "Read the record that `id` names; fix the cause and run the triage again.",
    "bad_gateway": "Send the request again with the same idempotency key: it may have been carried out.",
    "bad_setting": "Correct the setting that the message names; `seedcore config check` shows all of them.",
    "batch_failed": "`accepted` are stored. Submit `unsure` again under their keys: that makes no second task.",
    "budget_exceeded": "Wait until the budget is free again (`Retry-After`), or raise its limit (`LLM_BUDGET_…`).",
    "conflict": "Read the state (`detail` names it) and decide again. With an idempotency key: use another key.",
    "too_little_history": "Ask again after `Retry-After`: a forecast needs a recorded slot of arrivals.",
    "database_conflict": "Try again; nothing was stored.",
    "database_denied": "Correct user and password in `SEEDCORE_PG_DSN`, or grant the role what it lacks.",
    "database_full": "Free space on PostgreSQL's volume, or enlarge it. What was acknowledged is kept.",
    "database_io_error": "Read PostgreSQL's log; replace the volume if its files cannot be read.",
    "database_lock_timeout": "Try again. If it stays: end the transaction that holds the lock (`pg_locks`).",
    "database_out_of_memory": "Read PostgreSQL's log; give it more of what it lacks.",
    "database_read_only": "Point `SEEDCORE_PG_DSN` at the primary.",
    "database_timeout": "Try again. If it stays: raise `statement_timeout` of the role.",
    "database_too_many_connections": "Raise `max_connections`, or lower `SEEDCORE_PG_POOL_SIZE`.",
    "deadline_exceeded": "The work goes on; ask for it by its id. For longer requests raise the timeout.",
    "event_id_ahead": "Connect again without `Last-Event-ID`.",
    "forbidden": "Use a key with the right that `detail` names.",
    "http_error": "`detail` says what to change.",
    "internal_error": "Report it with the log of that time; the log has the traceback.",
    "invalid_input": "`errors` names each field and what is allowed there.",
    "llm_bad_answer": "Ask again, perhaps with the profile `deep` or a larger model.",
    "llm_not_configured": "Set `LLM_PROVIDER` and what `detail` names; docs/language-models.md has every way.",
    "llm_refused": "`detail` has what the server says: a wrong `LLM_API_KEY`, an unknown model, a long prompt.",
    "malformed_request": "Send well-formed JSON in UTF-8; `detail` says where reading stopped.",
    "method_not_allowed": "Use one of the methods in `Allow`.",
    "missing_scope": "Use a key that holds the scope that `scope` names, or `admin`.",
    "no_plan": "`missing` names what no skill gives. Add it to the inputs, or load a skill that gives it.",
    "not_configured": "Set the setting that `detail` names.",
    "not_found": "Check the id or the path; retention forgets ended tasks after a while.",
    "overloaded": "Try again after `Retry-After`; send batches, or add replicas.",
    "platform_only": "Use a key that belongs to no tenant; what a tenant may do is in docs/security.md.",
    "precondition_failed": "Read it again, and repeat the change on what is there now.",
    "ray_unavailable": "Start Ray, or set `RAY_ADDRESS`; `detail` says what was tried.",
    "reference_too_small": "Let more tasks of the stream run, or calibrate with more observations.",
    "request_timeout": "Send the request again, faster or in smaller parts.",
    "schema_behind": "Run the bootstrap, which migrates the database; then try again.",
    "skill_failed": "`detail` has the exception; the traceback is in the host's log.",
    "skill_process_died": "Look for memory, and for `os._exit` in the skill or its libraries.",
    "start_failed": "The message is the end of the part's log; correct what it names and start again.",
    "task_failed": "The exception has the task's own `code`: see the table below.",
    "too_large": "Send less at once; `limit` is what is allowed.",
    "unauthorized": "Send `Authorization: Bearer KEY` with a key that this SeedCore knows.",
    "unavailable": "Try again; `/health` says which store or service does not answer.",
    "unexpected_result": "Correct the model given as `returns`, or the skill's result.",
    "unsupported_media_type": "Send JSON in UTF-8 as `application/json`, without compression.",
}


def errors_page() -> str:
    """The whole page, as Markdown."""
    requests = _table(("code", "status", "meaning", "what to do"), _request_rows())
    tasks = _table(("code", "what becomes of the task", "meaning", "what to do"), _task_rows())
    return f"{INTRODUCTION}{requests}{TASKS}{tasks}"


def _request_rows() -> Iterator[tuple[str, str, str, str]]:
    known = errors.known_errors()
    # An application answers with it for statuses that no class here stands for.
    for code in sorted({*known, "http_error"}):
        kind = known.get(code)
        yield f"`{code}`", "any" if kind is None else _status(kind), _meaning(code, kind), ACTIONS[code]


def _status(kind: type[errors.SeedCoreError]) -> str:
    """Errors that are only ever raised to a caller in the same process have no status."""
    over_http = (
        kind.__module__ in (errors.__name__, thresholds.__name__, model_errors.__name__)
        and kind is not errors.SettingsError
    )
    return str(kind.status) if over_http else ""


def _meaning(code: str, kind: type[errors.SeedCoreError] | None) -> str:
    if code in MEANINGS or kind is None:
        return MEANINGS[code]
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


def _task_rows() -> Iterator[tuple[str, str, str, str]]:
    for code in FailureCode:
        note = NOTES[code]
        yield f"`{code}`", ", ".join(note.outcomes), note.meaning, note.action


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"
