-- SeedCore's first schema. A task's fixed facts stand once in `tasks`; which of the short tables below holds its id
-- says what state it is in, so a claim never reads history.

create schema if not exists seedcore;

-- UUID version 7 (RFC 9562 §5.7): ids sort by time, so new rows go to the right edge of every index.
create function seedcore.new_id() returns uuid language sql volatile parallel safe as $$
  select encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
    52, 1), 53, 1), 'hex')::uuid
$$;

create table seedcore.tasks (
  id              uuid primary key,
  type            text not null check (length(type) between 1 and 200),
  params          jsonb not null,
  bindings        jsonb,
  queue           text not null default 'default',
  slow            boolean not null default false,  -- its lane: planning and LLM work waits in a line of its own
  domain          text,
  priority        smallint not null default 0 check (priority between -100 and 100),
  max_attempts    smallint not null check (max_attempts between 1 and 100),
  timeout_s       real check (timeout_s > 0),
  run_after       timestamptz,
  deadline        timestamptz,
  limit_key       text,
  idempotency_key text,
  parent_id       uuid,
  step            text,
  approved        boolean not null default false,  -- a person released it; with `deadline`, what may change
  created_at      timestamptz not null default now()
) partition by range (id);
create index tasks_parent on seedcore.tasks (parent_id) where parent_id is not null;
create table seedcore.tasks_default partition of seedcore.tasks default;

create table seedcore.idempotency (
  queue      text not null,
  key        text not null,
  task_id    uuid not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  primary key (queue, key)
);
create index idempotency_created on seedcore.idempotency (created_at);

-- Runnable now. Insert and delete only. `rank` is minus the priority, so that one row comparison finds the place in the
-- order from which a claim goes on.
create table seedcore.ready (
  queue    text not null,
  slow     boolean not null default false,
  rank     smallint not null,
  attempts smallint not null default 0,
  seq      bigint generated always as identity,
  id       uuid not null
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
create unique index ready_order on seedcore.ready (queue, slow, rank, seq);
create unique index ready_id on seedcore.ready (id);

-- Queues that nobody claims from until a person lets them go on.
create table seedcore.paused (
  queue text primary key,
  since timestamptz not null default now()
);

-- Runnable later: `run_after` and retries.
create table seedcore.deferred (
  id       uuid primary key,
  run_at   timestamptz not null,
  attempts smallint not null default 0
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
create index deferred_due on seedcore.deferred (run_at);

-- Due, but its key has no room. Only tasks with a `limit_key` ever come here.
create table seedcore.gated (
  id       uuid primary key,
  key      text not null,
  queue    text not null,
  slow     boolean not null,
  rank     smallint not null,
  attempts smallint not null default 0,
  seq      bigint generated always as identity
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
create index gated_order on seedcore.gated (key, rank, seq);

-- How many tasks of a key may run at once, and how many may start in a second (a token bucket). `next_at`: when a
-- token is there for the tasks that wait.
create table seedcore.limits (
  key         text primary key,
  max_running integer check (max_running > 0),
  rate_per_s  double precision check (rate_per_s > 0),
  burst       integer not null default 1 check (burst > 0),
  tokens      double precision not null default 1,
  refilled_at timestamptz not null default now(),
  next_at     timestamptz
) with (fillfactor = 50);
create index limits_next on seedcore.limits (next_at) where next_at is not null;

-- The tasks that a key let through and that have not ended: in `ready`, leased, or waiting for their plan.
create table seedcore.admitted (
  id  uuid primary key,
  key text not null
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
create index admitted_key on seedcore.admitted (key);

-- Ends tasks that have not ended by then. Only tasks with a deadline stand here.
create table seedcore.deadlines (
  id uuid primary key,
  at timestamptz not null
);
create index deadlines_at on seedcore.deadlines (at);

-- Not runnable: a plan's parent, a step whose needs are open (both `waiting`), or one that a person must release.
create table seedcore.held (
  id       uuid primary key,
  status   text not null check (status in ('waiting', 'approval')),
  attempts smallint not null default 0,
  needs    uuid[] not null default '{}',
  decision jsonb,
  plan     jsonb,
  since    timestamptz not null default now()
);

-- Who does what only one should: the reaper. What it does is safe from two at once; this only spares the work.
create table seedcore.leaders (
  role       text primary key,
  owner      uuid not null,
  expires_at timestamptz not null
) with (fillfactor = 50);

-- One row a living dispatcher; its leases live as long as its heartbeat. `actor` stays the same over restarts of one
-- dispatcher, so a new session of it ends the one before at once.
create table seedcore.sessions (
  id         uuid primary key,
  actor      text not null,
  name       text not null,
  queue      text not null,
  started_at timestamptz not null default now(),
  expires_at timestamptz not null,
  last_claim timestamptz,
  holding    integer not null default 0
) with (fillfactor = 50);

-- One sequence for fencing tokens and events, so that everything that happens to a task is in one order.
create sequence seedcore.ticks;
create table seedcore.leases (
  id        uuid primary key,
  token     bigint not null,
  owner     uuid not null,
  attempts  smallint not null,
  leased_at timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
create index leases_owner on seedcore.leases (owner);

-- `token` and `began` are those of the last attempt, `tick` is the end's place among the task's events.
create table seedcore.finished (
  id            uuid primary key,
  tick          bigint not null,
  token         bigint,
  status        text not null check (status in ('completed', 'cancelled')),
  attempts      smallint not null,
  began         boolean not null default false,
  started_at    timestamptz,
  finished_at   timestamptz not null default now(),
  result        jsonb,
  error_code    text,
  error_message text,
  decision      jsonb
) partition by range (id);
create index finished_cancelled on seedcore.finished (id) where status = 'cancelled';
create index finished_at on seedcore.finished using brin (finished_at);
create table seedcore.finished_default partition of seedcore.finished default;

-- The dead letters: tasks that failed for good, with every error on the way.
create table seedcore.dead (
  id            uuid primary key,
  tick          bigint not null,
  token         bigint,
  attempts      smallint not null,
  began         boolean not null default false,
  started_at    timestamptz,
  finished_at   timestamptz not null default now(),
  error_code    text not null,
  error_message text not null default '',
  errors        jsonb not null default '[]',
  decision      jsonb
);
create index dead_finished on seedcore.dead (finished_at);
create index dead_code on seedcore.dead (error_code, id);

-- What happened, append-only: one row a batch (`task_ids`) for what happens to every task, so that history costs some
-- 20 bytes a task; a row of its own (`task_id`) for what is rare. What a task's other tables say is not said again.
-- `xid` lets a reader of the whole log take exactly what became visible since its last look.
create table seedcore.events (
  tick     bigint not null default nextval('seedcore.ticks'),
  event    text not null,
  at       timestamptz not null default now(),
  xid      xid8 not null default pg_current_xact_id(),
  task_id  uuid,
  task_ids uuid[],
  data     jsonb not null default '{}',
  primary key (tick, at),
  check ((task_id is null) <> (task_ids is null))
) partition by range (at);
create index events_task on seedcore.events (task_id, tick) where task_id is not null;
create index events_xid on seedcore.events (xid);
create table seedcore.events_default partition of seedcore.events default;

-- The smallest id that a task made at that moment can have.
create function seedcore.first_id(moment timestamptz) returns uuid language sql immutable parallel safe as $$
  select (lpad(to_hex(floor(extract(epoch from moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- Make the partitions of `days` days (UTC) from `first` on, where they are missing: `tasks_d20260131` and so on. What
-- the default partition holds of that day moves in.
create function seedcore.make_partitions(first date, days integer) returns integer language plpgsql as $$
declare
  day  date;
  made integer := 0;
  kind text;
  part text;
  lo   text;
  hi   text;
  col  text;
begin
  for day in select first + n from generate_series(0, days - 1) n loop
    foreach kind in array array['tasks', 'finished', 'events'] loop
      part := kind || '_d' || to_char(day, 'YYYYMMDD');
      continue when to_regclass('seedcore.' || part) is not null;
      col := case kind when 'events' then 'at' else 'id' end;
      lo := (day::timestamp at time zone 'utc')::text;
      hi := ((day + 1)::timestamp at time zone 'utc')::text;
      if kind <> 'events' then
        lo := seedcore.first_id(lo::timestamptz)::text;
        hi := seedcore.first_id(hi::timestamptz)::text;
      end if;
      -- Made apart and attached: that does not wait for those who read and write the table.
      execute format('create table seedcore.%I (like seedcore.%I including defaults including constraints including indexes)'
                     ' with (autovacuum_analyze_scale_factor = 0.05)', part, kind);
      execute format('with moved as (delete from seedcore.%I where %I >= %L and %I < %L returning *)'
                     ' insert into seedcore.%I select * from moved', kind || '_default', col, lo, col, hi, part);
      execute format('alter table seedcore.%I attach partition seedcore.%I for values from (%L) to (%L)', kind, part, lo, hi);
      made := made + 1;
    end loop;
  end loop;
  return made;
end $$;
select seedcore.make_partitions((now() at time zone 'utc')::date - 1, 5);

-- Forget a day's tasks: its partitions go as a whole. Those that live, are dead letters, or ended later than `kept_s` ago
-- move to the default partitions first. It gives up when somebody's long transaction is in the way; call it again later.
create function seedcore.drop_day(day text, kept_s double precision) returns void language plpgsql
set lock_timeout = '500ms' as $$
declare
  from_id uuid := seedcore.first_id(to_date(day, 'YYYYMMDD')::timestamp at time zone 'utc');
  to_id   uuid := seedcore.first_id((to_date(day, 'YYYYMMDD') + 1)::timestamp at time zone 'utc');
  cutoff  timestamptz := now() - make_interval(secs => kept_s);
  old_tasks    text := 'tasks_d' || day;
  old_finished text := 'finished_d' || day;
begin
  execute format('alter table seedcore.finished detach partition seedcore.%I', old_finished);
  execute format('alter table seedcore.tasks detach partition seedcore.%I', old_tasks);
  execute format('insert into seedcore.finished select * from seedcore.%I where finished_at >= $1', old_finished) using cutoff;
  execute format('insert into seedcore.tasks select t.* from seedcore.%I t where t.id in (
      select id from seedcore.ready where id >= $1 and id < $2 union
      select id from seedcore.deferred where id >= $1 and id < $2 union
      select id from seedcore.gated where id >= $1 and id < $2 union
      select id from seedcore.held where id >= $1 and id < $2 union
      select id from seedcore.leases where id >= $1 and id < $2 union
      select id from seedcore.dead where id >= $1 and id < $2 union
      select id from seedcore.finished_default where id >= $1 and id < $2)', old_tasks) using from_id, to_id;
  execute format('drop table seedcore.%I, seedcore.%I', old_tasks, old_finished);
end $$;

create function seedcore.drop_events(day text) returns void language plpgsql set lock_timeout = '500ms' as $$
begin
  execute format('drop table seedcore.%I', 'events_d' || day);
end $$;

-- Tasks that have ended, whatever way.
create view seedcore.ended as
select id, tick, token, status, attempts, began, started_at, finished_at, result, error_code, error_message,
       '[]'::jsonb as errors, decision from seedcore.finished
union all
select id, tick, token, 'failed', attempts, began, started_at, finished_at, null, error_code, error_message,
       errors, decision from seedcore.dead;

-- Every task with its state, for people and the API. One snapshot, so a task is in one state.
create view seedcore.task_state as
select t.*,
       case when f.id is not null then f.status when x.id is not null then 'failed' when l.id is not null then 'running'
            when h.id is not null then h.status else 'queued' end as status,
       coalesce(f.attempts, x.attempts, l.attempts, h.attempts, d.attempts, g.attempts, r.attempts, 0::smallint) as attempts,
       coalesce(f.started_at, x.started_at, l.leased_at) as started_at,
       coalesce(f.finished_at, x.finished_at) as finished_at, f.result,
       coalesce(f.error_code, x.error_code) as error_code, coalesce(f.error_message, x.error_message) as error_message,
       x.errors, coalesce(f.decision, x.decision, h.decision) as decision,
       d.run_at, l.token as lease_token, h.plan
from seedcore.tasks t
left join seedcore.finished f on f.id = t.id
left join seedcore.dead x on x.id = t.id
left join seedcore.leases l on l.id = t.id
left join seedcore.held h on h.id = t.id
left join seedcore.deferred d on d.id = t.id
left join seedcore.gated g on g.id = t.id
left join seedcore.ready r on r.id = t.id;

-- A NOTIFY takes a lock that all of a server's commits share, so nobody is woken who is awake: a dispatcher holds a
-- shared advisory lock (24301, lane) while it is idle, a follower of events holds (24302, 'events'). A wake-up that is lost
-- in a race costs one poll.
create function seedcore.lane(queue text, slow boolean) returns text language sql immutable parallel safe as $$
  select case when slow then queue || '~slow' else queue end
$$;
create function seedcore.someone(class integer, key integer) returns boolean language sql volatile as $$
  select case when pg_try_advisory_lock(class, key) then not pg_advisory_unlock(class, key) else true end
$$;
create function seedcore.wake(queue text, slow boolean) returns void language plpgsql volatile as $$
begin
  if seedcore.someone(24301, hashtext(seedcore.lane(queue, slow))) then
    perform pg_notify('seedcore_ready', seedcore.lane(queue, slow));
  end if;
end $$;
create function seedcore.tell() returns void language plpgsql volatile as $$
begin
  if seedcore.someone(24302, hashtext('events')) then
    perform pg_notify('seedcore_events', '');
  end if;
end $$;

-- Let tasks of these keys through, the highest priority first, as far as their limits allow. The key's row is the lock.
create function seedcore.admit(keys text[]) returns integer language plpgsql as $$
declare
  gate  seedcore.limits%rowtype;
  stock double precision;
  room  integer;
  moved integer;
  total integer := 0;
begin
  for gate in select * from seedcore.limits l where l.key = any(keys) order by l.key for update loop
    delete from seedcore.admitted a where a.key = gate.key
       and not exists (select 1 from seedcore.ready r where r.id = a.id)
       and not exists (select 1 from seedcore.leases l where l.id = a.id)
       and not exists (select 1 from seedcore.held h where h.id = a.id and h.plan is not null);
    room := case when gate.max_running is null then 1000
                 else gate.max_running - (select count(*) from seedcore.admitted a where a.key = gate.key) end;
    stock := case when gate.rate_per_s is null then gate.burst else least(gate.burst,
               gate.tokens + extract(epoch from clock_timestamp() - gate.refilled_at) * gate.rate_per_s) end;
    if gate.rate_per_s is not null then
      room := least(room, floor(stock)::integer);
    end if;
    moved := 0;
    if room > 0 then
      with go as (
        delete from seedcore.gated where ctid = any(array(
          select g.ctid from seedcore.gated g where g.key = gate.key order by g.rank, g.seq limit room
          for update skip locked))
        returning id, queue, slow, rank, attempts)
      , noted as (insert into seedcore.admitted (id, key) select id, gate.key from go on conflict (id) do nothing)
      , moves as (insert into seedcore.ready (queue, slow, rank, attempts, id)
                  select queue, slow, rank, attempts, id from go returning queue, slow)
      , woken as (select count(seedcore.wake(m.queue, m.slow)) from (select distinct queue, slow from moves) m)
      select count(*) into moved from go, woken;
    end if;
    update seedcore.limits l set
      tokens = stock - case when l.rate_per_s is null then 0 else moved end,
      refilled_at = clock_timestamp(),
      next_at = case when l.rate_per_s is not null and exists (select 1 from seedcore.gated g where g.key = l.key)
                     then clock_timestamp() + make_interval(secs => greatest(1 - (stock - moved), 0) / l.rate_per_s) end
     where l.key = gate.key;
    total := total + moved;
  end loop;
  return total;
end $$;

-- The errors of a task's attempts before its last one, and that one.
create function seedcore.errors_of(task uuid, attempt integer, code text, message text) returns jsonb
language sql stable as $$
  select coalesce(jsonb_agg(jsonb_build_object('attempt', e.data->'attempt', 'at', e.at, 'code', e.data->>'code',
                                               'message', e.data->>'message') order by e.tick), '[]')
         || jsonb_build_array(jsonb_build_object('attempt', attempt, 'at', now(), 'code', code, 'message', message))
  from seedcore.events e where e.task_id = task and e.event = 'retried' and e.data ? 'code'
$$;

-- Define a key's limit. What is not given stays; a new key that says nothing lets one task run at a time. A row that
-- already says so is not written, so that submitters do not wait for each other.
create function seedcore.set_limit(the_key text, running integer, per_s double precision, the_burst integer) returns void
language plpgsql as $$
begin
  insert into seedcore.limits as l (key, max_running, rate_per_s, burst, tokens)
  values (the_key, case when running is null and per_s is null then 1 else running end, per_s, coalesce(the_burst, 1),
          coalesce(the_burst, 1))
  on conflict (key) do nothing;
  update seedcore.limits l set max_running = coalesce(running, l.max_running), rate_per_s = coalesce(per_s, l.rate_per_s),
         burst = coalesce(the_burst, l.burst)
   where l.key = the_key and (l.max_running is distinct from coalesce(running, l.max_running)
         or l.rate_per_s is distinct from coalesce(per_s, l.rate_per_s) or l.burst <> coalesce(the_burst, l.burst));
end $$;

-- Submit from SQL, inside the caller's own transaction.
create function seedcore.enqueue(type text, params jsonb, options jsonb default '{}') returns uuid
language plpgsql as $$
declare
  new_task  uuid := seedcore.new_id();
  first     seedcore.tasks%rowtype;
  the_queue text := coalesce(options->>'queue', 'default');
  the_key   text := options->>'idempotency_key';
  due       timestamptz := (options->>'run_after')::timestamptz;
  prio      smallint := coalesce((options->>'priority')::smallint, 0);
  is_slow   boolean := type = 'goal';
  the_limit jsonb := options->'limit';
  the_gate  text := options->'limit'->>'key';
  until     timestamptz := (options->>'deadline')::timestamptz;
  kept_s    double precision := (options->>'idempotency_period_s')::double precision;
  unknown   text;
begin
  select string_agg(k, ', ') into unknown from jsonb_object_keys(options) k
   where k not in ('queue', 'idempotency_key', 'idempotency_period_s', 'run_after', 'deadline', 'priority', 'domain',
                   'max_attempts', 'timeout_s', 'limit');
  if unknown is not null then
    raise exception 'seedcore.enqueue: unknown options: %', unknown using errcode = 'invalid_parameter_value',
      hint = 'Allowed: queue, idempotency_key, idempotency_period_s, run_after, deadline, priority, domain, '
             'max_attempts, timeout_s, limit {key, max_running, rate_per_s, burst}.';
  end if;
  if the_limit is not null and (the_gate is null or length(the_gate) not between 1 and 200) then
    raise exception 'seedcore.enqueue: limit needs a key of 1 to 200 characters' using errcode = 'invalid_parameter_value';
  end if;
  if the_queue !~ '^[a-z][a-z0-9_-]{0,62}$' then
    raise exception 'seedcore.enqueue: queue % is no name', the_queue using errcode = 'invalid_parameter_value',
      hint = 'A small letter, then up to 62 small letters, digits, _ or -.';
  end if;
  if length(the_key) not between 1 and 500 then
    raise exception 'seedcore.enqueue: idempotency_key has 1 to 500 characters' using errcode = 'invalid_parameter_value';
  end if;
  if kept_s <= 0 or kept_s > 366 * 86400 then
    raise exception 'seedcore.enqueue: idempotency_period_s must be greater than 0 and at most a year'
      using errcode = 'invalid_parameter_value';
  end if;
  if jsonb_typeof(params) <> 'object' then
    raise exception 'seedcore.enqueue: params must be a JSON object' using errcode = 'invalid_parameter_value';
  end if;
  if octet_length(params::text) > 262144 then
    raise exception 'seedcore.enqueue: params are larger than 262144 bytes' using errcode = 'invalid_parameter_value';
  end if;
  if the_key is not null then
    insert into seedcore.idempotency as i (queue, key, task_id, expires_at)
    values (the_queue, the_key, new_task, now() + make_interval(secs => kept_s))
    on conflict on constraint idempotency_pkey do update set task_id = excluded.task_id, created_at = now(),
      expires_at = excluded.expires_at
      where i.expires_at <= now() or (i.created_at < now() - interval '1 hour'
            and not exists (select 1 from seedcore.tasks t where t.id = i.task_id));
    if not found then
      select t.* into first from seedcore.idempotency i join seedcore.tasks t on t.id = i.task_id
       where i.queue = the_queue and i.key = the_key;
      if first.type <> enqueue.type or first.params <> enqueue.params then
        raise exception 'seedcore.enqueue: idempotency_key % was used with another type or params', the_key
          using errcode = 'unique_violation';
      end if;
      return first.id;
    end if;
  end if;
  insert into seedcore.tasks (id, type, params, queue, slow, domain, priority, max_attempts, timeout_s, run_after, deadline,
                              limit_key, idempotency_key)
  values (new_task, enqueue.type, enqueue.params, the_queue, is_slow, options->>'domain', prio,
          coalesce((options->>'max_attempts')::smallint, 5), (options->>'timeout_s')::real, due, until, the_gate, the_key);
  if until is not null then
    insert into seedcore.deadlines (id, at) values (new_task, until);
  end if;
  if the_gate is not null then
    perform seedcore.set_limit(the_gate, (the_limit->>'max_running')::integer,
                               (the_limit->>'rate_per_s')::double precision, (the_limit->>'burst')::integer);
  end if;
  if due is not null and due > now() then
    insert into seedcore.deferred (id, run_at) values (new_task, due);
    perform pg_notify('seedcore_later', extract(epoch from due - now())::text);
  elsif the_gate is not null then
    insert into seedcore.gated (id, key, queue, slow, rank) values (new_task, the_gate, the_queue, is_slow, -prio);
    perform pg_notify('seedcore_later', '0');
  else
    insert into seedcore.ready (id, queue, slow, rank) values (new_task, the_queue, is_slow, -prio);
    perform seedcore.wake(the_queue, is_slow);
  end if;
  insert into seedcore.events (event, task_ids) values ('submitted', array[new_task]);
  perform seedcore.tell();
  return new_task;
end $$;

-- End everything below a task as cancelled: its steps, and theirs. It looks again until nothing of them lives, for a step
-- that another transaction moves meanwhile shows in its next place only afterwards.
create function seedcore.cancel_below(root uuid, code text, why text) returns void language plpgsql as $$
declare
  family uuid[];
begin
  with recursive below as (
    select t.id from seedcore.tasks t where t.parent_id = root
    union all select t.id from seedcore.tasks t join below b on t.parent_id = b.id)
  select coalesce(array_agg(id), '{}') into family from below;
  loop
    with a as (delete from seedcore.held h where h.id = any(family) returning h.id, h.attempts),
         b as (delete from seedcore.ready r where r.id = any(family) returning r.id, r.attempts),
         c as (delete from seedcore.deferred d where d.id = any(family) returning d.id, d.attempts),
         d as (delete from seedcore.gated g where g.id = any(family) returning g.id, g.attempts),
         e as (delete from seedcore.leases l where l.id = any(family) returning l.id, l.attempts),
         told as (select count(pg_notify('seedcore_cancel', e.id::text)) from e),
         gone as (select * from a union all select * from b union all select * from c union all select * from d
                  union all select * from e),
         ev as (insert into seedcore.events (event, task_ids)
                select 'cancelled', array_agg(id) from gone having count(*) > 0 returning tick)
    insert into seedcore.finished (id, tick, status, attempts, error_code, error_message)
    select gone.id, ev.tick, 'cancelled', gone.attempts, code, why from gone, ev, told;
    exit when not exists (
      select 1 from seedcore.held where id = any(family) union all
      select 1 from seedcore.ready where id = any(family) union all
      select 1 from seedcore.deferred where id = any(family) union all
      select 1 from seedcore.gated where id = any(family) union all
      select 1 from seedcore.leases where id = any(family));
  end loop;
end $$;

-- After tasks ended: release the steps whose needs completed, end the parents whose steps ended. Called in the same
-- transaction as the write that ended them, and only for tasks that have a parent.
create function seedcore.advance_plans(over uuid[]) returns void language plpgsql as $$
declare
  parent record;
  broken record;
  settled uuid[] := '{}';
  the_tick bigint;
  woken integer;
  why text;
begin
  for parent in
    -- Steps older than the plan are those of an earlier plan of a goal that was run again.
    -- The row lock makes two endings of one plan take turns; the order keeps two batches from a deadlock.
    select h.id, h.plan, h.attempts, h.since, h.decision from seedcore.held h
     where h.plan is not null and h.id in (select t.parent_id from seedcore.tasks t where t.id = any(over))
     order by h.id for update
  loop
    select t.step, f.status, f.error_code, f.error_message into broken
      from seedcore.tasks t join seedcore.ended f on f.id = t.id
     where t.parent_id = parent.id and t.created_at >= parent.since and f.status <> 'completed'
     order by f.finished_at limit 1;
    if found then
      perform seedcore.cancel_below(parent.id, 'plan_failed', 'step ' || broken.step || ' did not complete');
      delete from seedcore.held where id = parent.id;
      settled := settled || parent.id;
      insert into seedcore.events (event, task_ids) values ('failed', array[parent.id]) returning tick into the_tick;
      why := 'step ' || broken.step || ' ' || broken.status || coalesce(': ' || broken.error_message, '');
      insert into seedcore.dead (id, tick, attempts, started_at, error_code, error_message, errors, decision)
      values (parent.id, the_tick, parent.attempts, parent.since, 'step_failed', why,
              seedcore.errors_of(parent.id, parent.attempts, 'step_failed', why), parent.decision);
    else
      with free as (
        delete from seedcore.held h using seedcore.tasks t
         where t.parent_id = parent.id and h.id = t.id and h.status = 'waiting' and h.plan is null
           and not exists (select 1 from unnest(h.needs) n(id) left join seedcore.ended f on f.id = n.id
                            where f.status is distinct from 'completed')
        returning h.id, h.attempts, t.queue, t.slow, t.priority)
      , go as (insert into seedcore.ready (id, queue, slow, rank, attempts)
                select id, queue, slow, -priority, attempts from free returning queue, slow)
      select count(seedcore.wake(g.queue, g.slow)) into woken from (select distinct queue, slow from go) g;
      if not exists (select 1 from seedcore.tasks t left join seedcore.ended f on f.id = t.id
                      where t.parent_id = parent.id and t.created_at >= parent.since and f.id is null) then
        delete from seedcore.held where id = parent.id;
        settled := settled || parent.id;
        insert into seedcore.events (event, task_ids) values ('completed', array[parent.id]) returning tick into the_tick;
        insert into seedcore.finished (id, tick, status, attempts, started_at, result, decision)
        select parent.id, the_tick, 'completed', parent.attempts, parent.since,
               (select jsonb_object_agg(o.key, case when o.value->>'$from' = 'inputs'
                         then (select p.params->'inputs'->(o.value->>'field') from seedcore.tasks p where p.id = parent.id)
                         else (select f.result->(o.value->>'field') from seedcore.tasks t
                                 join seedcore.ended f on f.id = t.id
                                where t.parent_id = parent.id and t.created_at >= parent.since
                                  and t.step = o.value->>'$from') end)
                  from jsonb_each(parent.plan->'output') o), parent.decision;
      end if;
    end if;
  end loop;
  -- A plan that ended may have held a key's place, or have been a step of another plan.
  if cardinality(settled) > 0 then
    perform seedcore.settle(settled);
  end if;
end $$;

-- What ends bring about: plans go on, keys let others through. Called in the transaction that ended these tasks, and
-- only for tasks with a parent or a key.
create function seedcore.settle(over uuid[]) returns void language plpgsql as $$
begin
  if exists (select 1 from seedcore.tasks t where t.id = any(over) and t.parent_id is not null) then
    perform seedcore.advance_plans(over);
  end if;
  perform seedcore.admit(array(select distinct t.limit_key from seedcore.tasks t
                                where t.id = any(over) and t.limit_key is not null));
end $$;

create table seedcore.organs (
  id      text primary key,
  spec    jsonb not null,
  updated timestamptz not null default now()
);

-- Agents' durable state; hosts write it in batches. `seq` lets readers take only what changed.
create sequence seedcore.agent_change;
create table seedcore.agents (
  id        text primary key,
  organ     text not null,
  host      text not null,
  queued_s  double precision not null default 0,
  running   integer not null default 0,
  completed bigint not null default 0,
  failed    bigint not null default 0,
  rates     jsonb not null default '{}',
  seq       bigint not null default nextval('seedcore.agent_change'),
  updated   timestamptz not null default now()
) with (fillfactor = 70);
create index agents_seq on seedcore.agents (seq);

create table seedcore.flashbulbs (
  id         uuid primary key,
  created_at timestamptz not null default now(),
  kind       text not null,
  salience   double precision not null check (salience between 0 and 1),
  payload    jsonb not null
);
create index flashbulbs_created on seedcore.flashbulbs (created_at desc);
