"""End tasks under their fencing tokens, alone or with the next claim in one statement; what follows from ends."""

from seedcore.tasks.sql.claim import LEASED_TASKS, TAKE_AND_LEASE, TAKE_IN_TURNS_AND_LEASE

# Primary key leases (id); the token fences. One event a status, not one a task. Failed tasks are the dead letters. $9 says of
# which kind each task is, the place of an object in $10 (`{tenant, type, agent, code}`): the graph gets their sums, as one row.
_FINISH = """
ack as materialized (
  select * from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bool[],
                       $9::int[])
    as a(id, token, status, result, error_code, error_message, decision, began, kind))
, gone as (
  delete from seedcore.leases l using ack a where l.id between a.id and a.id and l.token = a.token
  returning a.*, l.attempts, l.leased_at)
, logged as (
  insert into seedcore.events (event, task_ids) select status, array_agg(id) from gone group by status returning tick, event)
, kept as (
  insert into seedcore.finished
    (id, tick, token, status, attempts, began, started_at, result, error_code, error_message, decision)
  select g.id, s.tick, g.token, g.status, g.attempts, g.began, g.leased_at, g.result::jsonb, g.error_code, g.error_message,
         g.decision::jsonb
  from gone g join logged s on s.event = g.status where g.status <> 'failed')
, died as (
  insert into seedcore.dead
    (id, tick, token, attempts, began, started_at, error_code, error_message, errors, decision)
  select g.id, s.tick, g.token, g.attempts, g.began, g.leased_at, g.error_code, coalesce(g.error_message, ''),
         seedcore.errors_of(g.id, g.attempts, g.error_code, g.error_message), g.decision::jsonb
  from gone g join logged s on s.event = g.status where g.status = 'failed')
, summed as (
  select seedcore.graph_ended(jsonb_agg(($10::jsonb -> k.kind) || jsonb_build_object('n', k.n, 'seconds', k.seconds)))
  from (select kind, count(*) as n, sum(extract(epoch from now() - leased_at)) as seconds from gone where kind is not null
        group by kind) k
  having count(*) > 0)
, notified as (select seedcore.tell() from logged where (select count(*) from summed) >= 0 limit 1)
"""

# What was refused; `except` hashes both sides, so a batch is not compared with itself.
_REFUSED = "select id from ack except select id from gone"

FINISH = f"with {_FINISH} select id from ({_REFUSED}) r where (select count(*) from notified) >= 0"

# One statement, one commit, for a dispatcher's turn: end what ended, lease what is next. The rows without a token
# are the ends that were refused.
_REFUSED_ROWS = f"""
where (select count(*) from notified) >= 0
union all
select r.id{", null" * 21} from ({_REFUSED}) r
order by priority desc nulls last, seq
"""


def _and_claim(take: str, parameters: int) -> str:
    return f"with {_FINISH}, {take.format(*(f'${n}' for n in range(11, 11 + parameters)))}{LEASED_TASKS}{_REFUSED_ROWS}"


FINISH_AND_CLAIM = _and_claim(TAKE_AND_LEASE, 9)
FINISH_AND_CLAIM_IN_TURNS = _and_claim(TAKE_IN_TURNS_AND_LEASE, 18)

# Of tasks that end now, those whose deadline has passed; primary key tasks (id).
LATE = """
select i.id from unnest($1::uuid[]) i(id)
cross join lateral (select deadline from seedcore.tasks where id = i.id offset 0) t where t.deadline <= now()
"""

# Before the end or the retry of these attempts, in the same transaction; primary key leases (id), the token fences.
SPEND = """
insert into seedcore.usage (id, token, tokens, money)
select a.id, a.token, a.tokens, a.money
from unnest($1::uuid[], $2::bigint[], $3::float8[], $4::float8[]) a(id, token, tokens, money)
join seedcore.leases l on l.id between a.id and a.id and l.token = a.token
on conflict (id, token) do nothing
"""

# The consequences of ends, for tasks with a parent or a key: plans go on, keys admit others.
SETTLE = "select seedcore.settle($1::uuid[])"
