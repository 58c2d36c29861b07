"""Submit tasks: one, many that are due now, many with the other options; each without and with idempotency keys.

Parameters of those for many: the arrays of `OWN`, an array for each shared column, a value for each shared column, and
who submits them all.
A column that all tasks of a batch share comes as the value, with an empty array, which `unnest` makes nulls: an array
costs more than all else that Python computes for a column.
"""

OWN = {"id": "uuid", "params": "text", "key": "text"}
"""What each task has for itself, and its type."""

SHARED_NOW = {
    "type": "text",
    "queue": "text",
    "domain": "text",
    "priority": "smallint",
    "max_attempts": "smallint",
    "timeout_s": "real",
    "slow": "bool",
    "period_s": "float8",
    "tenant": "text",
    "traceparent": "text",
}
"""What tasks mostly share; all there is when they are due now, without limit or deadline."""

SHARED = SHARED_NOW | {"run_after": "timestamptz", "deadline": "timestamptz", "limit_key": "text", "limits": "text"}


def _parameters(shared: dict[str, str]) -> int:
    return len(OWN) + 2 * len(shared) + 1


def _said_by(parameter: str) -> str:
    """What the event `submitted` says of who submits; nothing without a name."""
    return f"case when {parameter} is null then '{{}}' else jsonb_build_object('by', {parameter}) end"


def _input(shared: dict[str, str], more: str = " from columns") -> str:
    """The tasks as rows; `more` goes on behind the list of columns."""
    types = OWN | shared
    arrays = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(types.values(), 1))
    filled = (f"coalesce(i.{name}, ${n}::{shared[name]}) as {name}" for n, name in enumerate(shared, len(types) + 1))
    columns = ", ".join([*(f"i.{name}" for name in OWN), *filled])
    return f"""
with columns as (select {columns} from unnest({arrays}) as i({", ".join(types)}))
, input as materialized (select *{more})
"""


# Keys are unique within a tenant's queue: as `submission.tenancy.key_space`.
def _space(queue: str, tenant: str) -> str:
    return f"case when {tenant} = 'default' then {queue} else {queue} || '@' || {tenant} end"


_SPACE = f", {_space('queue', 'tenant')} as space"

# The keys of a submission that are new, and those that are free again: their period is over, or retention took their
# task (its submitter has committed long since, or it would show). In the order of the keys, so that two submitters never
# wait for each other in a circle.
_TAKE_KEY = """
  on conflict (queue, key) do update set task_id = excluded.task_id, created_at = now(), expires_at = excluded.expires_at
  where i.expires_at <= now() or (i.created_at < now() - interval '1 hour' and seedcore.task_is_gone(i.task_id))
  returning task_id
"""

_ALL_FRESH = ", fresh as not materialized (select * from input)"

# Primary key idempotency (queue, key) decides who is first; repeats inside the batch too. When all keys were won, as
# nearly always, no task is looked up among the winners.
_WINNERS = f"""
, won as (
  insert into seedcore.idempotency as i (queue, key, task_id, expires_at)
  select distinct on (space, key) space, key, id, now() + make_interval(secs => period_s)
  from input where key is not null order by space, key, id {_TAKE_KEY})
, won_all as (select (select count(*) from won) = (select count(key) from input))
, fresh as not materialized (
  select * from input where (select * from won_all) or key is null or id in (select task_id from won))
"""

# The same for keys that are expected to be new: the insert that looks for no conflict before it writes fails with
# the first one that was. A batch that is sent again, or overlaps one that was sent, shows at its ends: nothing is stored.
_UNUSED_ENDS = "where " + " and ".join(
    f"not (select seedcore.key_is_used(${n}::text, ${n + 1}::text))"
    for n in (_parameters(SHARED_NOW) + 1, _parameters(SHARED_NOW) + 3)
)
_ALL_WIN = """
, won as (
  insert into seedcore.idempotency (queue, key, task_id, expires_at)
  select space, key, id, now() + make_interval(secs => period_s)
  from input where key is not null order by space, key, id returning 1)
, fresh as not materialized (select * from input where (select count(*) from won) > 0)
"""

_NO_LOST = "null::uuid[] as lost"
_LOST = """
  (select array_agg(id) from input where not (select * from won_all) and key is not null
   and id not in (select task_id from won)) as lost
"""


def _logged(by: str) -> str:
    return f"""
, logged as (
  insert into seedcore.events (event, task_ids, data)
  select 'submitted', array_agg(id), {_said_by(by)} from fresh having count(*) > 0)
"""


# No table is opened that gets no row.
_BY_NOW, _BY = f"${_parameters(SHARED_NOW)}::text", f"${_parameters(SHARED)}::text"

_STORE_NOW = f"""
, stored as (
  insert into seedcore.tasks (id, type, params, queue, slow, domain, priority, max_attempts, timeout_s, idempotency_key,
                              tenant, traceparent, submitted_by)
  select id, type, params::jsonb, queue, slow, domain, priority, max_attempts, timeout_s, key, tenant, traceparent,
         {_BY_NOW}
  from fresh)
, now_ready as (
  insert into seedcore.ready (id, queue, slow, rank, tenant) select id, queue, slow, -priority, tenant from fresh)
{_logged(_BY_NOW)}
select now() as created_at, (select count(seedcore.wake(d.queue, d.slow)) from (select distinct queue, slow from fresh) d),
       seedcore.tell(),
"""

_STORE = f"""
, stored as (
  insert into seedcore.tasks (id, type, params, queue, slow, domain, priority, max_attempts, timeout_s, run_after,
                              deadline, limit_key, limits, idempotency_key, tenant, traceparent, submitted_by)
  select id, type, params::jsonb, queue, slow, domain, priority, max_attempts, timeout_s, run_after, deadline, limit_key,
         limits::jsonb, key, tenant, traceparent, {_BY}
  from fresh)
, now_ready as (
  insert into seedcore.ready (id, queue, slow, rank, tenant)
  select id, queue, slow, -priority, tenant from fresh where due and limit_key is null)
, closing as (insert into seedcore.deadlines (id, at) select id, deadline from fresh where deadline is not null)
, gated as (
  insert into seedcore.gated (id, key, queue, slow, rank, tenant, limits)
  select id, limit_key, queue, slow, -priority, tenant, limits::jsonb
  from fresh where due and limit_key is not null returning id)
, later as (
  insert into seedcore.deferred (id, run_at) select id, run_after from fresh where not due returning run_at)
{_logged(_BY)}
, woken as (
  select count(seedcore.wake(d.queue, d.slow)) from (
    select distinct queue, slow from fresh where due and limit_key is null) d)
, rouse as (
  select count(pg_notify('seedcore_later', extract(epoch from c.at - now())::text)) from (
    select min(at) as at from (select run_at as at from later union all select now() from gated
                               union all select deadline from fresh where deadline is not null) m) c where c.at is not null)
select now() as created_at, (select count(*) from woken, rouse), seedcore.tell(),
"""

_DUE = ", run_after is null or run_after <= now() as due from columns"

SUBMIT_NOW = f"{_input(SHARED_NOW)} {_ALL_FRESH} {_STORE_NOW} {_NO_LOST}"
SUBMIT_NOW_NEW_KEYS = f"""
{_input(SHARED_NOW, f"{_SPACE} from columns {_UNUSED_ENDS}")} {_ALL_WIN} {_STORE_NOW} {_NO_LOST} from (select from input limit 1) i
"""
"""Further parameters: queue and key of the first task, and of the last. No row when one of them was used."""
SUBMIT = f"{_input(SHARED, _DUE)} {_ALL_FRESH} {_STORE} {_NO_LOST}"
SUBMIT_KEYED = f"{_input(SHARED, _SPACE + _DUE)} {_WINNERS} {_STORE} {_LOST}"

# One that is due now, without limit or deadline, in as few steps as there are tables: to begin and to end a step costs
# ten times what it does for one row.
SUBMIT_ONE = f"""
with stored as (
  insert into seedcore.tasks (id, type, params, queue, slow, domain, priority, max_attempts, timeout_s, tenant, traceparent,
                              submitted_by)
  values ($1, $2, $3::text::jsonb, $4, $5, $6, $7, $8, $9, $10, $11, $12))
, now_ready as (insert into seedcore.ready (id, queue, slow, rank, tenant) values ($1, $4, $5, -$7::smallint, $10))
, logged as (
  insert into seedcore.events (event, task_ids, data) values ('submitted', array[$1::uuid], {_said_by("$12::text")}))
select now() as created_at, seedcore.wake($4, $5), seedcore.tell()
"""

# No row when its key was used.
SUBMIT_ONE_KEYED = f"""
with won as (
  insert into seedcore.idempotency as i (queue, key, task_id, expires_at)
  values ({_space("$4::text", "$10::text")}, $13, $1, now() + make_interval(secs => $14::float8)) {_TAKE_KEY})
, stored as (
  insert into seedcore.tasks (id, type, params, queue, slow, domain, priority, max_attempts, timeout_s, tenant, traceparent,
                              submitted_by, idempotency_key)
  select $1, $2, $3::text::jsonb, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13 from won)
, now_ready as (
  insert into seedcore.ready (id, queue, slow, rank, tenant) select $1, $4, $5, -$7::smallint, $10 from won)
, logged as (
  insert into seedcore.events (event, task_ids, data) select 'submitted', array[task_id], {_said_by("$12::text")} from won)
select now() as created_at, seedcore.wake($4, $5), seedcore.tell() from won
"""

# Primary keys idempotency (queue, key) and tasks (id). A statement of its own: its snapshot is newer.
FIRST_OF_KEYS = """
select a.n, t.id, t.type = a.type and t.params = a.params::jsonb as same
from unnest($1::text[], $2::text[], $3::text[], $4::text[]) with ordinality as a(queue, key, type, params, n)
join seedcore.idempotency i on i.queue = a.queue and i.key = a.key
join seedcore.tasks t on t.id = i.task_id
"""

# What `seedcore.enqueue` resolves options by. In the order of the keys, so that two gateways that start together never wait for each other in a circle.
PUBLISH_SETTINGS = """
insert into seedcore.settings as s (name, value)
select name, value from unnest($1::text[], $2::bigint[]) g(name, value) order by name
on conflict (name) do update set value = excluded.value where s.value <> excluded.value
"""

PUBLISH_SKILLS = """
insert into seedcore.skills as s (name, slow, max_attempts, platform, queue, organ)
select name, slow, max_attempts, platform, queue, organ
from unnest($1::text[], $2::bool[], $3::smallint[], $4::bool[], $5::text[], $6::text[])
  g(name, slow, max_attempts, platform, queue, organ)
order by name
on conflict (name) do update set slow = excluded.slow, max_attempts = excluded.max_attempts,
  platform = excluded.platform, queue = excluded.queue, organ = excluded.organ
where (s.slow, s.max_attempts, s.platform, s.queue, s.organ)
  is distinct from (excluded.slow, excluded.max_attempts, excluded.platform, excluded.queue, excluded.organ)
"""
