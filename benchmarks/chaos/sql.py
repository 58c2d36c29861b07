"""Every statement that the witness runs; when the engine's tables change, this page follows. Reads only."""

_ENDS = ("finished", "dead")
_SHORT = ("ready", "deferred", "held", "leases")

TABLES = "select table_name::text from information_schema.tables where table_schema = 'seedcore'"
"""Which of the tables there are."""

LEASES = "select id::text, token from seedcore.leases"


def ends_since(tables: set[str]) -> str:
    """Tasks that ended during the last $1 seconds."""
    return f"select * from ({_ends(tables)}) e where finished_at > now() - make_interval(secs => $1::float8)"


def ends_of(tables: set[str]) -> str:
    """Tasks among $1 (ids as text) that have ended."""
    return f"select * from ({_ends(tables)}) e where uid = any($1::text[]::uuid[])"


def ends(tables: set[str]) -> str:
    """Every end."""
    return _ends(tables)


def _ends(tables: set[str]) -> str:
    parts = [
        f"select '{name}' as kept_in, id as uid, id::text as id, status, token, attempts, finished_at"
        f" from seedcore.{name}"
        for name in _ENDS
        if name in tables
    ]
    return " union all ".join(parts)


def still_in(tables: set[str]) -> str:
    """(id, table) of everything that waits or runs."""
    parts = [f"select id::text, '{name}' as kept_in from seedcore.{name}" for name in _SHORT if name in tables]
    return " union all ".join(parts)


# Events of every task stand in rows of many (`task_ids`), rare ones in rows of their own (`task_id`).
END_EVENTS = """
select i.id::text as id, e.event from seedcore.events e
cross join lateral unnest(coalesce(e.task_ids, array[e.task_id])) as i(id)
where e.event in ('completed', 'failed', 'cancelled') order by e.tick
"""

# A lease that was given up or reaped leaves its token here.
LOST_TOKENS = """
select task_id::text as id, (data->>'token')::bigint as token from seedcore.events
where event = 'retried' and data ? 'token'
"""

KEYS = "select idempotency_key as key, id::text as id from seedcore.tasks where idempotency_key like 'chaos-%'"
