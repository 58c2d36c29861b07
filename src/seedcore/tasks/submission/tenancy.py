"""Whose a task is: where a submission comes from, and the names that belong to one tenant.

A tenant's limits, schedules and idempotency keys are its own: those of tenants other than `default` are stored with the
tenant's name before them (`scoped`, `key_space`), and shown without it.
"""

import re
from dataclasses import dataclass

from seedcore.tasks.model import DEFAULT_TENANT

SEPARATOR = "\x1f"
"""Between a tenant and a name of its own: no name may hold a control character."""

_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a submission comes from.

    Attributes:
        tenant: whose its tasks are.
        traceparent: the caller's trace context (W3C), as `read_traceparent` gives it.
        by: the name of the key that was presented; None: there was none.
        operates: whether it may submit skills that change what all tenants use.
    """

    tenant: str = DEFAULT_TENANT
    traceparent: str | None = None
    by: str | None = None
    operates: bool = True


HERE = Origin()
"""What SeedCore submits by itself."""


def scoped(tenant: str, name: str) -> str:
    """A name of a tenant as it is stored."""
    return name if tenant == DEFAULT_TENANT else f"{tenant}{SEPARATOR}{name}"


def unscoped(stored: str) -> str:
    """The name without its tenant."""
    return stored.rpartition(SEPARATOR)[2]


def key_space(queue: str, tenant: str) -> str:
    """Within what idempotency keys are unique; as `seedcore.enqueue` writes it."""
    return queue if tenant == DEFAULT_TENANT else f"{queue}@{tenant}"


def read_traceparent(text: str | None) -> str | None:
    """A `traceparent` in version 00 of the W3C's format; None when it is missing or malformed, as the standard wants.

    Of a later version, which may say more, what version 00 knows is taken.
    """
    found = None if text is None else _TRACEPARENT.fullmatch(text)
    if found is None or (found[1] == "00" and found[3] is not None):
        return None
    return f"00-{found[2]}"


def trace_id(task_id: str, traceparent: str | None) -> str:
    """The trace that a task belongs to, 32 hexadecimal digits: the caller's, or one named by the task's id."""
    return task_id.replace("-", "") if traceparent is None else traceparent[3:35]
