"""Every statement that the witness runs; when the engine's tables change, this page follows. Reads only."""

# The tables that hold ends, and how each tells the status.
_ENDS = {"finished": "status", "dead": "'failed'"}
_SHORT = ("ready", "deferred", "gated", "held", "leases")

LEASES = "select id::text, token from seedcore.leases"


ENDS = " union all ".join(
    f"select '{table}' as kept_in, id as uid, id::text as id, {status} as status, token, attempts, finished_at"
    f" from seedcore.{table}"
    for table, status in _ENDS.items()
)
"""Every end."""

ENDS_SINCE = f"select * from ({ENDS}) e where finished_at > now() - make_interval(secs => $1::float8)"
"""Tasks that ended during the last $1 seconds."""

ENDS_OF = f"select * from ({ENDS}) e where uid = any($1::text[]::uuid[])"
"""Tasks among $1 that have ended."""

STILL_IN = " union all ".join(f"select id::text, '{table}' as kept_in from seedcore.{table}" for table in _SHORT)
"""Everything that waits or runs."""

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
