"""Schedules: define them, find those that are due, move them on. All by primary key but DUE."""

from seedcore.stores.advisory_locks import SCHEDULES_AND_RECIPES

MAX_SCHEDULES = 10_000
"""Schedules of one tenant."""

# The columns stand in the order of Schedule's fields.

COLUMNS = """
id, type, params::text, queue, slow, domain, priority, max_attempts, timeout_s, task_limit::text, cron, every_s,
timezone, catch_up, max_catch_up, starts_at, ends_at, paused, next_at, last_at, last_task_id, fired, skipped, error,
created_at, updated_at, tenant
"""

LOCK = f"select {COLUMNS} from seedcore.schedules where id = $1 for update"

# A statement of its own, after the lock: now() is older than a lock that was waited for.

CLOCK = "select clock_timestamp()"

_DEFINED = """
id, type, params, queue, slow, domain, priority, max_attempts, timeout_s, task_limit, cron, every_s, timezone, catch_up,
max_catch_up, starts_at, ends_at, next_at, updated_at
"""

INSERT = f"""
insert into seedcore.schedules ({_DEFINED}, created_at, tenant)
select $1, $2, $3::jsonb, $4, $5, $6, $7, $8, $9, $10::jsonb, $11, $12, $13, $14, $15, $16, $17, $18, $19::timestamptz,
       $19, $20
where (select count(*) from seedcore.schedules where tenant = $20) < {MAX_SCHEDULES}
on conflict (id) do nothing returning {COLUMNS}
"""

UPDATE = f"""
update seedcore.schedules set ({_DEFINED}, error)
     = ($1, $2, $3::jsonb, $4, $5, $6, $7, $8, $9, $10::jsonb, $11, $12, $13, $14, $15, $16, $17, $18, $19, null)
where id = $1 returning {COLUMNS}
"""

PAUSE = f"""
update seedcore.schedules set paused = $2, next_at = $3, error = case when $2 then error end
where id = $1 returning {COLUMNS}
"""

COUNT_FIRED = """
update seedcore.schedules set fired = fired + $2, last_at = $3, last_task_id = $4 where id = $1
"""

# Wakes the reaper, which sleeps until what it knew to be next.

NOTIFY_LATER = "select pg_notify('seedcore_later', extract(epoch from $1::timestamptz - now())::text)"

GET = f"select {COLUMNS} from seedcore.schedules where id = $1"

FIND = f"select {COLUMNS} from seedcore.schedules where id > $1 order by id limit $2"

# Index schedules_tenant.
FIND_OF_TENANT = f"select {COLUMNS} from seedcore.schedules where tenant = $3 and id > $1 order by id limit $2"

EXISTS = "select exists (select 1 from seedcore.schedules where id = $1)"

REMOVE = "delete from seedcore.schedules where id = $1 returning id"

# Those who make a schedule count them one after the other.

LOCK_MAKING = f"select pg_advisory_xact_lock({SCHEDULES_AND_RECIPES}, 0)"

# Index schedules_due. The database's clock alone says what is due.
DUE = f"""
select {COLUMNS}, now() from seedcore.schedules where not paused and next_at <= now()
order by next_at limit $1 for update skip locked
"""

# Primary key schedules (id).
MOVE = """
update seedcore.schedules s set
  next_at = m.next_at, last_at = coalesce(m.last_at, s.last_at), last_task_id = coalesce(m.task_id, s.last_task_id),
  fired = s.fired + m.fired, skipped = s.skipped + m.skipped, error = m.error, paused = m.broken
from unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::uuid[], $5::bigint[], $6::bigint[], $7::text[],
            $8::bool[]) as m(id, next_at, last_at, task_id, fired, skipped, error, broken)
where s.id = m.id
"""
