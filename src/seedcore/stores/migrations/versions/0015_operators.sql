-- For operators: tenants, keys, an audit log, traces, fair shares, several limits a task, and metrics.

-- What ends tasks deletes their leases first, then calls functions that `admitted`'s key below matters to: it waits here,
-- and calls those of this release.
lock table seedcore.leases in access exclusive mode;

-- Who a task belongs to; `traceparent` (W3C) is the caller's, null: the trace is named by the task's id. `limits` holds
-- [{key, cost}] by key when there are several, or a cost other than 1; `limit_key` is then the first. `submitted_by`: the
-- name of the key that was presented.
alter table seedcore.tasks
  add column tenant      text not null default 'default',
  add column traceparent text,
  add column limits      jsonb,
  add column submitted_by text;

-- A tenant's tasks are found without a look at those of others; those of `default` pay nothing for it.
create index tasks_tenant on seedcore.tasks (tenant, id) where tenant <> 'default';

drop view seedcore.task_state;
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

-- Within a priority tenants take turns: the index has a head for each. Claimants know its order, so it is that of bytes.
alter table seedcore.ready add column tenant text collate "C" not null default 'default';
create unique index ready_turns on seedcore.ready (queue, slow, rank, tenant, seq);

-- `limits` is the task's: only those with several keys, or a cost, are looked at one by one.
alter table seedcore.gated add column tenant text not null default 'default', add column limits jsonb;
create index gated_several on seedcore.gated (key, rank, seq) where limits is not null;

-- A task holds a place of every key that it names, and took `cost` of each one's tokens.
alter table seedcore.admitted add column cost real not null default 1;
alter table seedcore.admitted drop constraint admitted_pkey, add primary key (id, key);

-- Tenants with a weight of their own; one without a row has weight 1.
create table seedcore.tenants (
  name       text primary key,
  weight     integer not null default 1 check (weight between 1 and 1000),
  created_at timestamptz not null default now()
);

-- Database roles that submit for one tenant alone, whatever they ask for.
create table seedcore.sql_roles (
  role   text primary key,
  tenant text not null
);

-- Skills that change what all tenants use; who submits for one tenant may not submit them.
alter table seedcore.skills add column platform boolean not null default false;

create function seedcore.option_limits(given jsonb)
returns table (key text, running integer, per_s double precision, at_once integer, cost double precision) language plpgsql as $$
declare
  one   jsonb;
  known text[] := '{}';
begin
  if jsonb_typeof(given) <> 'array' or jsonb_array_length(given) not between 1 and 8 then
    perform seedcore.refuse('limits must be an array of 1 to 8 limits');
  end if;
  for one in select e from jsonb_array_elements(given) e loop
    perform seedcore.refuse_unknown(one, 'limit', array['key', 'max_running', 'rate_per_s', 'burst', 'cost']);
    key := seedcore.option_text(one, 'key', 1, 200);
    if key is null or key ~ '[\x01-\x1f\x7f]' then
      perform seedcore.refuse('a limit needs a key of 1 to 200 characters, none of them a control character');
    end if;
    if key = any(known) then
      perform seedcore.refuse('limits name a key twice');
    end if;
    known := known || key;
    running := seedcore.option_number(one, 'max_running', 1, 1000000, true);
    per_s := seedcore.option_number(one, 'rate_per_s', 0.00000001, 1000000, false);
    at_once := seedcore.option_number(one, 'burst', 1, 1000000, true);
    cost := coalesce(seedcore.option_number(one, 'cost', 0.000001, 1000000000, false), 1);
    return next;
  end loop;
end $$;

-- `enqueue` submits with its owner's rights: a role needs EXECUTE on it, and no rights on tables. Who could submit
-- before still can, and no other role.
revoke execute on function seedcore.enqueue(text, jsonb, jsonb) from public;
do $$
declare
  submitter name;
begin
  for submitter in
    select r.rolname from pg_roles r where not r.rolsuper and r.rolname !~ '^pg_'
       and has_schema_privilege(r.oid, 'seedcore', 'USAGE') and has_table_privilege(r.oid, 'seedcore.tasks', 'INSERT')
  loop
    execute format('grant execute on function seedcore.enqueue(text, jsonb, jsonb) to %I', submitter);
  end loop;
end $$;

alter table seedcore.schedules add column tenant text not null default 'default';
create index schedules_tenant on seedcore.schedules (tenant, id);

-- A tenant's own keys are `tenant || U+001F || key`.
create index limits_tenant on seedcore.limits (split_part(key, E'\x1f', 1), key) where position(E'\x1f' in key) > 0;

-- API keys. Of the secret only its SHA-256 is kept: it has 256 random bits, so nothing is gained by a slow hash. A name
-- has several rows while it is rotated. `tenant` null: a platform key, which sees all tenants.
create table seedcore.api_keys (
  id           uuid primary key default seedcore.new_id(),
  name         text not null,
  hash         bytea not null unique,
  tenant       text,
  scopes       text[] not null,
  payloads     boolean not null default true,
  created_at   timestamptz not null default now(),
  created_by   text not null,
  expires_at   timestamptz,
  revoked_at   timestamptz,
  last_used_at timestamptz
);
create index api_keys_name on seedcore.api_keys (name);

-- Who did what from where. Rows come and stay; only retention takes the oldest, through `seedcore.forget_audit`.
create table seedcore.audit (
  id         uuid primary key default seedcore.new_id(),
  at         timestamptz not null default now(),
  actor      text not null,
  actor_kind text not null,
  tenant     text,
  action     text not null,
  target     text,
  status     integer not null,
  source     text,
  detail     jsonb not null default '{}'
);
create index audit_actor on seedcore.audit (actor, id);
create index audit_tenant on seedcore.audit (tenant, id);

create function seedcore.refuse_audit_change() returns trigger language plpgsql as $$
begin
  if coalesce(current_setting('seedcore.audit_retention', true), '') <> 'on' or tg_op <> 'DELETE' then
    raise exception 'seedcore.audit is append-only' using errcode = 'insufficient_privilege';
  end if;
  return old;
end $$;
create trigger audit_stays before update or delete on seedcore.audit
  for each row execute function seedcore.refuse_audit_change();
create trigger audit_stays_whole before truncate on seedcore.audit
  for each statement execute function seedcore.refuse_audit_change();

create function seedcore.forget_audit(kept_s double precision) returns bigint language plpgsql as $$
declare
  gone bigint;
begin
  perform set_config('seedcore.audit_retention', 'on', true);
  delete from seedcore.audit where id < seedcore.first_id(now() - make_interval(secs => kept_s));
  get diagnostics gone = row_count;
  perform set_config('seedcore.audit_retention', '', true);
  return gone;
end $$;

-- What every process has counted, as sums: each adds what it counted since its last write, once a second. `buckets` are
-- the counts of a histogram by its bounds, the last one above all of them; `value` is then the sum of what was observed.
create table seedcore.metric_series (
  name    text not null,
  labels  jsonb not null,
  value   double precision not null default 0,
  buckets bigint[],
  at      timestamptz not null default now(),
  since   timestamptz not null default now(),
  primary key (name, labels)
) with (fillfactor = 50);

-- Wake the reaper when tasks wait for keys that were passed over.
create function seedcore.come_back(keys text[], done text[]) returns void language plpgsql as $$
begin
  if exists (select 1 from (select unnest(keys) as key except select unnest(done)) k
              where exists (select 1 from seedcore.gated g where g.key = k.key)) then
    perform pg_notify('seedcore_later', '0.1');
  end if;
end $$;

-- What is left of a key: how many more may run, and the tokens in its bucket. Tasks that let it go meanwhile are forgotten.
create function seedcore.gate_state(gate seedcore.limits, out room integer, out stock double precision)
language plpgsql as $$
begin
  delete from seedcore.admitted a where a.key = gate.key
     and not exists (select 1 from seedcore.ready r where r.id = a.id)
     and not exists (select 1 from seedcore.leases l where l.id = a.id)
     and not exists (select 1 from seedcore.held h where h.id = a.id and h.plan is not null);
  room := case when gate.max_running is null then 1000
               else gate.max_running - (select count(*) from seedcore.admitted a where a.key = gate.key) end;
  stock := case when gate.rate_per_s is null then 'infinity' else least(gate.burst,
             gate.tokens + extract(epoch from clock_timestamp() - gate.refilled_at) * gate.rate_per_s) end;
end $$;

-- As `admit`, where tasks have several keys. The rows of all keys that may matter are locked in their order, before
-- anything is taken; a task whose keys are not among them, or were passed over, is left for the next time. A task goes
-- when each of its keys has a place and `cost` tokens, and takes from all at once; else it goes on waiting at the key that
-- stopped it, under its old number. One that costs more than a bucket holds goes when the bucket is full, and leaves it in
-- debt. No time is written that is further away than 1e9 s: a debt may take longer than timestamps reach.
create function seedcore.admit_several(keys text[]) returns integer language plpgsql as $$
declare
  names   text[] := '{}';
  rooms   integer[] := '{}';
  stocks  double precision[] := '{}';
  bursts  integer[] := '{}';
  gate    seedcore.limits%rowtype;
  state   record;
  wanted  text[];
  waiting record;
  need    record;
  place   integer;
  stopped text;
  total   integer := 0;
begin
  select array_agg(distinct k.key) into wanted from (
    select unnest(keys) as key
    union all select w.key from unnest(keys) g(key) cross join lateral (
      select l->>'key' as key from (
        select s.limits from seedcore.gated s where s.key = g.key and s.limits is not null
        order by s.rank, s.seq limit 1000) s
      cross join lateral jsonb_array_elements(s.limits) l) w) k;
  insert into seedcore.limits (key, max_running)
  select k.key, 1 from unnest(wanted) k(key)
   where not exists (select 1 from seedcore.limits l where l.key = k.key) order by k.key
  on conflict do nothing;
  for gate in select * from seedcore.limits l where l.key = any(wanted) order by l.key for update skip locked loop
    state := seedcore.gate_state(gate);
    names := names || gate.key;
    rooms := rooms || state.room;
    stocks := stocks || state.stock;
    bursts := bursts || gate.burst;
  end loop;
  for own in 1 .. cardinality(names) loop
    continue when names[own] <> all(keys);
    for waiting in
      select g.ctid as place, g.* from seedcore.gated g where g.key = names[own] order by g.rank, g.seq limit 1000
      for update skip locked
    loop
      stopped := null;
      -- Its own key first: what is behind it waits for it, too.
      for need in select * from seedcore.needs_of(waiting.key, waiting.limits) n order by n.key <> waiting.key loop
        place := array_position(names, need.key);
        if place is null then
          stopped := '';
        elsif rooms[place] < 1 or stocks[place] < least(need.cost, bursts[place]) then
          stopped := need.key;
        end if;
        exit when stopped is not null;
      end loop;
      exit when stopped = waiting.key;
      if stopped = '' then
        perform seedcore.come_back(array[waiting.key], '{}');
        continue;
      end if;
      if stopped is not null then
        update seedcore.gated g set key = stopped where g.ctid = waiting.place;
        continue;
      end if;
      for need in select * from seedcore.needs_of(waiting.key, waiting.limits) loop
        place := array_position(names, need.key);
        rooms[place] := rooms[place] - 1;
        stocks[place] := stocks[place] - need.cost;
        insert into seedcore.admitted (id, key, cost) values (waiting.id, need.key, need.cost)
        on conflict (id, key) do update set cost = excluded.cost;
      end loop;
      delete from seedcore.gated g where g.ctid = waiting.place;
      insert into seedcore.ready (queue, slow, rank, attempts, id, tenant)
      values (waiting.queue, waiting.slow, waiting.rank, waiting.attempts, waiting.id, waiting.tenant);
      perform seedcore.wake(waiting.queue, waiting.slow);
      total := total + 1;
    end loop;
  end loop;
  for own in 1 .. cardinality(names) loop
    update seedcore.limits l set
      tokens = case when l.rate_per_s is null then l.burst else stocks[own] end,
      refilled_at = clock_timestamp(),
      next_at = case when l.rate_per_s is not null then (
        select clock_timestamp()
               + make_interval(secs => least(greatest(least(n.cost, l.burst) - stocks[own], 0) / l.rate_per_s, 1e9))
          from (select g.key, g.limits from seedcore.gated g where g.key = l.key order by g.rank, g.seq limit 1) h
          cross join lateral seedcore.needs_of(h.key, h.limits) n where n.key = l.key) end
     where l.key = names[own];
  end loop;
  perform seedcore.come_back(keys, names);
  return total;
end $$;

-- The keys of a task that waits, with the tokens that it takes of each.
create function seedcore.needs_of(the_key text, limits jsonb) returns table (key text, cost double precision)
language sql immutable as $$
  select the_key, 1.0::double precision where limits is null
  union all
  select l->>'key', (l->>'cost')::double precision from jsonb_array_elements(limits) l
$$;
