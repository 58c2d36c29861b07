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
  domain          text,
  priority        smallint not null default 0 check (priority between -100 and 100),
  max_attempts    smallint not null check (max_attempts between 1 and 100),
  timeout_s       real check (timeout_s > 0),
  run_after       timestamptz,
  idempotency_key text,
  parent_id       uuid,
  step            text,
  approved        boolean not null default false,  -- a person released it; the one fact here that changes
  created_at      timestamptz not null default now()
) with (autovacuum_analyze_scale_factor = 0.02);
create index tasks_parent on seedcore.tasks (parent_id) where parent_id is not null;

create table seedcore.idempotency (
  queue      text not null,
  key        text not null,
  task_id    uuid not null,
  created_at timestamptz not null default now(),
  primary key (queue, key)
);
create index idempotency_created on seedcore.idempotency (created_at);

-- Runnable now. Insert and delete only.
create table seedcore.ready (
  queue    text not null,
  priority smallint not null,
  seq      bigint generated always as identity,
  id       uuid not null,
  attempts smallint not null default 0
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
create unique index ready_order on seedcore.ready (queue, priority desc, seq);
create unique index ready_id on seedcore.ready (id);

-- Runnable later: `run_after` and retries.
create table seedcore.deferred (
  id       uuid primary key,
  run_at   timestamptz not null,
  queue    text not null,
  priority smallint not null,
  attempts smallint not null default 0
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
create index deferred_due on seedcore.deferred (run_at);

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
  status        text not null check (status in ('completed', 'failed', 'cancelled')),
  attempts      smallint not null,
  began         boolean not null default false,
  started_at    timestamptz,
  finished_at   timestamptz not null default now(),
  result        jsonb,
  error_code    text,
  error_message text,
  decision      jsonb
);
create index finished_unwell on seedcore.finished (status, id) where status <> 'completed';
create index finished_at on seedcore.finished using brin (finished_at);

-- What happened, append-only: one row a batch (`task_ids`) for what happens to every task, so that history costs some
-- 20 bytes a task; a row of its own (`task_id`) for what is rare. What a task's other tables say is not said again.
create table seedcore.events (
  tick     bigint primary key default nextval('seedcore.ticks'),
  event    text not null,
  at       timestamptz not null default now(),
  task_id  uuid,
  task_ids uuid[],
  data     jsonb not null default '{}',
  check ((task_id is null) <> (task_ids is null))
);
create index events_task on seedcore.events (task_id, tick) where task_id is not null;
create index events_at on seedcore.events using brin (at);

-- Every task with its state, for people and the API. One snapshot, so a task is in one state.
create view seedcore.task_state as
select t.*,
       case when f.id is not null then f.status when l.id is not null then 'running'
            when h.id is not null then h.status else 'queued' end as status,
       coalesce(f.attempts, l.attempts, h.attempts, d.attempts, r.attempts, 0::smallint) as attempts,
       coalesce(f.started_at, l.leased_at) as started_at,
       f.finished_at, f.result, f.error_code, f.error_message,
       coalesce(f.decision, h.decision) as decision,
       d.run_at, l.token as lease_token, h.plan
from seedcore.tasks t
left join seedcore.finished f on f.id = t.id
left join seedcore.leases l on l.id = t.id
left join seedcore.held h on h.id = t.id
left join seedcore.deferred d on d.id = t.id
left join seedcore.ready r on r.id = t.id;

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
  unknown   text;
begin
  select string_agg(k, ', ') into unknown from jsonb_object_keys(options) k
   where k not in ('queue', 'idempotency_key', 'run_after', 'priority', 'domain', 'max_attempts', 'timeout_s');
  if unknown is not null then
    raise exception 'seedcore.enqueue: unknown options: %', unknown using errcode = 'invalid_parameter_value',
      hint = 'Allowed: queue, idempotency_key, run_after, priority, domain, max_attempts, timeout_s.';
  end if;
  if jsonb_typeof(params) <> 'object' then
    raise exception 'seedcore.enqueue: params must be a JSON object' using errcode = 'invalid_parameter_value';
  end if;
  if octet_length(params::text) > 262144 then
    raise exception 'seedcore.enqueue: params are larger than 262144 bytes' using errcode = 'invalid_parameter_value';
  end if;
  if the_key is not null then
    insert into seedcore.idempotency (queue, key, task_id) values (the_queue, the_key, new_task) on conflict do nothing;
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
  insert into seedcore.tasks (id, type, params, queue, domain, priority, max_attempts, timeout_s, run_after, idempotency_key)
  values (new_task, enqueue.type, enqueue.params, the_queue, options->>'domain', prio,
          coalesce((options->>'max_attempts')::smallint, 5), (options->>'timeout_s')::real, due, the_key);
  if due is not null and due > now() then
    insert into seedcore.deferred (id, run_at, queue, priority) values (new_task, due, the_queue, prio);
  else
    insert into seedcore.ready (id, queue, priority) values (new_task, the_queue, prio);
  end if;
  insert into seedcore.events (event, task_ids) values ('submitted', array[new_task]);
  perform pg_notify('seedcore_ready', the_queue);
  return new_task;
end $$;

-- After tasks ended: release the steps whose needs completed, end the parents whose steps ended. Called in the same
-- transaction as the write that ended them, and only for tasks that have a parent.
create function seedcore.advance_plans(ended uuid[]) returns void language plpgsql as $$
declare
  parent record;
  broken record;
  the_tick bigint;
  queues text[];
  woken text;
begin
  for parent in
    -- The row lock makes two endings of one plan take turns; the order keeps two batches from a deadlock.
    select h.id, h.plan, h.attempts, h.since, h.decision from seedcore.held h
     where h.plan is not null and h.id in (select t.parent_id from seedcore.tasks t where t.id = any(ended))
     order by h.id for update
  loop
    select t.step, f.status, f.error_code, f.error_message into broken
      from seedcore.tasks t join seedcore.finished f on f.id = t.id
     where t.parent_id = parent.id and f.status <> 'completed' order by f.finished_at limit 1;
    if found then
      with pulled as (delete from seedcore.held h using seedcore.tasks t
                       where t.parent_id = parent.id and h.id = t.id returning h.id, h.attempts),
           unready as (delete from seedcore.ready r using seedcore.tasks t
                       where t.parent_id = parent.id and r.id = t.id returning r.id, r.attempts),
           undeferred as (delete from seedcore.deferred d using seedcore.tasks t
                       where t.parent_id = parent.id and d.id = t.id returning d.id, d.attempts),
           unleased as (delete from seedcore.leases l using seedcore.tasks t
                       where t.parent_id = parent.id and l.id = t.id returning l.id, l.attempts),
           gone as (select * from pulled union all select * from unready union all select * from undeferred
                    union all select * from unleased),
           ev as (insert into seedcore.events (event, task_ids)
                  select 'cancelled', array_agg(id) from gone having count(*) > 0 returning tick)
      insert into seedcore.finished (id, tick, status, attempts, error_code, error_message)
      select id, tick, 'cancelled', attempts, 'plan_failed', 'step ' || broken.step || ' did not complete' from gone, ev;
      delete from seedcore.held where id = parent.id;
      insert into seedcore.events (event, task_ids) values ('failed', array[parent.id]) returning tick into the_tick;
      insert into seedcore.finished (id, tick, status, attempts, started_at, error_code, error_message, decision)
      values (parent.id, the_tick, 'failed', parent.attempts, parent.since, 'step_failed',
              'step ' || broken.step || ' ' || broken.status || coalesce(': ' || broken.error_message, ''), parent.decision);
    else
      with free as (
        delete from seedcore.held h using seedcore.tasks t
         where t.parent_id = parent.id and h.id = t.id and h.status = 'waiting' and h.plan is null
           and not exists (select 1 from unnest(h.needs) n(id) left join seedcore.finished f on f.id = n.id
                            where f.status is distinct from 'completed')
        returning h.id, h.attempts, t.queue, t.priority)
      , go as (insert into seedcore.ready (id, queue, priority, attempts)
                select id, queue, priority, attempts from free returning queue)
      select coalesce(array_agg(distinct queue), '{}') into queues from go;
      foreach woken in array queues loop
        perform pg_notify('seedcore_ready', woken);
      end loop;
      if not exists (select 1 from seedcore.tasks t left join seedcore.finished f on f.id = t.id
                      where t.parent_id = parent.id and f.id is null) then
        delete from seedcore.held where id = parent.id;
        insert into seedcore.events (event, task_ids) values ('completed', array[parent.id]) returning tick into the_tick;
        insert into seedcore.finished (id, tick, status, attempts, started_at, result, decision)
        select parent.id, the_tick, 'completed', parent.attempts, parent.since,
               (select jsonb_object_agg(o.key, case when o.value->>'$from' = 'inputs'
                         then (select p.params->'inputs'->(o.value->>'field') from seedcore.tasks p where p.id = parent.id)
                         else (select f.result->(o.value->>'field') from seedcore.tasks t
                                 join seedcore.finished f on f.id = t.id
                                where t.parent_id = parent.id and t.step = o.value->>'$from') end)
                  from jsonb_each(parent.plan->'output') o), parent.decision;
      end if;
    end if;
  end loop;
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
