"""Reads where a task's data is: `"locality": {"at": agent, host or node, "bytes": number}` among its params."""

from seedcore.tasks.model import Lease
from seedcore.worker.decisions.stream_samples import read_params

MAX_NAME, MAX_BYTES = 200, 2.0**60


def data_of(task: Lease) -> tuple[str, float] | None:
    """Place and bytes; None where the task names no valid place."""
    if '"locality"' not in task.params:
        return None
    params = read_params(task)
    hint = params.get("locality") if isinstance(params, dict) else None
    if not isinstance(hint, dict):
        return None
    at, size = hint.get("at"), hint.get("bytes")
    if not isinstance(at, str) or isinstance(size, bool) or not isinstance(size, int | float):
        return None
    return (at, float(size)) if 0 < len(at) <= MAX_NAME and 0 < size <= MAX_BYTES else None
