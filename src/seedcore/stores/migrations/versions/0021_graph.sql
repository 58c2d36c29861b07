-- Changes that wait for the graph, written in the transaction that changed the thing. `kind` is what changed and `key`
-- which one; `payload` is what is known of it now, or {"gone": true}.
create table seedcore.graph_changes (
  seq     bigint generated always as identity primary key,
  kind    text not null,
  key     text not null,
  payload jsonb not null,
  at      timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
create index graph_changes_key on seedcore.graph_changes (kind, key, seq);

-- How tasks ended, since the beginning: sums, which the graph gets whole whenever they changed. `code` is '' for those that
-- completed, `agent` is '' where none is known.
create table seedcore.graph_sums (
  tenant  text not null,
  type    text not null,
  agent   text not null,
  code    text not null,
  n       bigint not null default 0,
  seconds double precision not null default 0,
  changed boolean not null default true,
  at      timestamptz not null default now(),
  primary key (tenant, type, agent, code)
);
create index graph_sums_changed on seedcore.graph_sums (at) where changed;

-- How far the graph is. `started_at`: of its first use; `refill`: changes were dropped, or never written, and what the tables
-- hold is to be read; `failing`: why the last round of the sync failed.
create table seedcore.graph_state (
  one        boolean primary key default true check (one),
  started_at timestamptz,
  refill     boolean not null default true,
  synced_seq bigint not null default 0,
  synced_at  timestamptz,
  failing    text,
  failing_at timestamptz
);
insert into seedcore.graph_state default values;

-- What skills declare: the queue of their tasks that name none, and the organ that runs them.
alter table seedcore.skills add column queue text, add column organ text;

-- A row of a table changed. Arguments of the trigger: the kind, the columns of its key, the columns that are kept (of a
-- JSON column a field: `payload>stream`). The last two are separated by commas. The key's parts are separated by U+001F.
create or replace function seedcore.graph_row_changed() returns trigger language plpgsql as $$
declare
  row_of jsonb := case when tg_op = 'DELETE' then to_jsonb(old) else to_jsonb(new) end;
begin
  insert into seedcore.graph_changes (kind, key, payload)
  values (tg_argv[0], seedcore.graph_key(row_of, tg_argv[1]),
          case when tg_op = 'DELETE' then '{"gone": true}' else seedcore.graph_kept(row_of, tg_argv[2]) end);
  return null;
end $$;

create or replace function seedcore.graph_key(row_of jsonb, columns text) returns text language sql immutable as $$
  select string_agg(row_of->>c.name, E'\x1f' order by c.n) from string_to_table(columns, ',') with ordinality c(name, n)
$$;

create or replace function seedcore.graph_kept(row_of jsonb, columns text) returns jsonb language sql immutable as $$
  select coalesce(jsonb_object_agg(split_part(c.name, '>', -1), row_of #> string_to_array(c.name, '>')), '{}')
  from string_to_table(columns, ',') c(name)
$$;

-- A task was planned, or its plan is over: its end says how, in the same transaction, where there is one.
create or replace function seedcore.graph_plan_held() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    insert into seedcore.graph_changes (kind, key, payload)
    select 'plan', new.id::text, jsonb_build_object('tenant', t.tenant, 'type', t.type, 'goal', left(t.params->>'goal', 200),
             'parent', t.parent_id, 'at', new.since, 'status', 'waiting', 'skills', jsonb_path_query_array(new.plan, '$.steps[*].skill'))
      from seedcore.tasks t where t.id = new.id;
  else
    insert into seedcore.graph_changes (kind, key, payload)
    select 'plan_end', t.id::text, jsonb_build_object('tenant', t.tenant, 'status', 'cancelled')
      from seedcore.tasks t where t.id = old.id;
  end if;
  return null;
end $$;

create or replace function seedcore.graph_plan_ended(task uuid, good boolean) returns void language plpgsql as $$
begin
  insert into seedcore.graph_changes (kind, key, payload)
  select 'plan_end', t.id::text, jsonb_build_object('tenant', t.tenant, 'status', case when good then 'completed' else 'failed' end)
    from seedcore.tasks t where t.id = task;
end $$;

-- Tasks failed for good: one row for all of a statement.
create or replace function seedcore.graph_dead() returns trigger language plpgsql as $$
begin
  if exists (select 1 from gone_wrong) then
    insert into seedcore.graph_changes (kind, key, payload)
    select 'dead', (array_agg(d.id order by d.id))[1]::text, jsonb_agg(jsonb_build_object('id', d.id, 'type', t.type, 'tenant', t.tenant,
             'code', d.error_code, 'agent', d.decision->>'agent', 'parent', t.parent_id, 'at', d.finished_at))
      from gone_wrong d cross join lateral (select * from seedcore.tasks where id = d.id offset 0) t
    having count(*) > 0;
  end if;
  return null;
end $$;

-- Dead letters are gone: somebody let them run again, or their time is over.
create or replace function seedcore.graph_not_dead() returns trigger language plpgsql as $$
begin
  insert into seedcore.graph_changes (kind, key, payload)
  select 'not_dead', (array_agg(id order by id))[1]::text, jsonb_agg(id) from gone_right having count(*) > 0;
  return null;
end $$;

-- Tasks ended: their sums, one row a batch. Called by the statement that ends them.
create or replace function seedcore.graph_ended(sums jsonb) returns void language plpgsql as $$
begin
  insert into seedcore.graph_changes (kind, key, payload) values ('ended', '', sums);
end $$;

-- Add up what has ended since the last call, by tenant, type, agent and code. Over the bound the agents of new sums are one.
create or replace function seedcore.graph_fold(most integer) returns integer language plpgsql as $$
declare
  full_up boolean;
  folded  integer;
begin
  if not exists (select 1 from seedcore.graph_changes where kind = 'ended') then
    return 0;
  end if;
  -- As the server counted last.
  full_up := (select c.reltuples >= most from pg_class c where c.oid = 'seedcore.graph_sums'::regclass);
  with taken as (delete from seedcore.graph_changes where kind = 'ended' returning payload)
  , ended as (
    select e.tenant, e.type, coalesce(e.agent, '') as agent, coalesce(e.code, '') as code, e.n, e.seconds
    from taken, jsonb_to_recordset(taken.payload) e(tenant text, type text, agent text, code text, n bigint, seconds float8))
  , placed as (
    select e.tenant, e.type, e.code, e.n, e.seconds,
           case when full_up and not exists (
             select 1 from seedcore.graph_sums s
             where (s.tenant, s.type, s.agent, s.code) = (e.tenant, e.type, e.agent, e.code)) then '' else e.agent end as agent
    from ended e)
  insert into seedcore.graph_sums as s (tenant, type, agent, code, n, seconds)
  select tenant, type, agent, code, sum(n), sum(seconds) from placed group by 1, 2, 3, 4 order by 1, 2, 3, 4
  on conflict (tenant, type, agent, code) do update set n = s.n + excluded.n, seconds = s.seconds + excluded.seconds,
    changed = true, at = now();
  get diagnostics folded = row_count;
  return folded;
end $$;

-- Bound what waits: of each thing the newest change stays, and over the bound the oldest go; what they said is read from
-- the tables when the sync goes on.
create or replace function seedcore.graph_tidy(most integer, most_sums integer) returns bigint language plpgsql as $$
declare
  merged  bigint;
  dropped bigint;
begin
  perform seedcore.graph_fold(most_sums);
  delete from seedcore.graph_changes c using (
    select kind, key, max(seq) as newest from seedcore.graph_changes group by kind, key having count(*) > 1) m
  where c.kind = m.kind and c.key = m.key and c.seq < m.newest;
  get diagnostics merged = row_count;
  delete from seedcore.graph_changes where seq <= (select seq from seedcore.graph_changes order by seq desc offset most limit 1);
  get diagnostics dropped = row_count;
  if dropped > 0 then
    update seedcore.graph_state set refill = true;
  end if;
  return merged + dropped;
end $$;

-- Let everything that the tables hold come as a change: at the graph's first use, and when it has lost something.
create or replace function seedcore.graph_refill() returns bigint language plpgsql as $$
declare
  source record;
  args   text[];
  more   bigint;
  total  bigint := 0;
begin
  update seedcore.graph_sums set changed = true;
  for source in
    select distinct on (t.tgrelid) t.tgrelid::regclass as name, t.tgargs from pg_trigger t join pg_proc p on p.oid = t.tgfoid
    where p.oid = 'seedcore.graph_row_changed'::regproc order by t.tgrelid, t.tgname
  loop
    args := string_to_array(encode(source.tgargs, 'escape'), '\000');
    execute format('insert into seedcore.graph_changes (kind, key, payload)
                    select $1, seedcore.graph_key(r, $2), seedcore.graph_kept(r, $3) from (select to_jsonb(x) as r from %s x) y',
                   source.name) using args[1], args[2], args[3];
    get diagnostics more = row_count;
    total := total + more;
  end loop;
  insert into seedcore.graph_changes (kind, key, payload)
  select 'plan', p.id::text, jsonb_build_object('tenant', t.tenant, 'type', t.type, 'goal', left(t.params->>'goal', 200),
           'parent', t.parent_id, 'at', p.since, 'status', coalesce(e.status, 'waiting'), 'skills', s.skills)
    from seedcore.plans p join seedcore.tasks t on t.id = p.id left join seedcore.ended e on e.id = p.id
    cross join lateral (select coalesce(jsonb_agg(distinct c.type), '[]') as skills from seedcore.tasks c where c.parent_id = p.id) s;
  get diagnostics more = row_count;
  total := total + more;
  insert into seedcore.graph_changes (kind, key, payload)
  select 'dead', d.id::text, jsonb_build_array(jsonb_build_object('id', d.id, 'type', t.type, 'tenant', t.tenant,
           'code', d.error_code, 'agent', d.decision->>'agent', 'parent', t.parent_id, 'at', d.finished_at))
    from (select * from seedcore.dead order by id desc limit 10000) d join seedcore.tasks t on t.id = d.id;
  get diagnostics more = row_count;
  update seedcore.graph_state set refill = false;
  return total + more;
end $$;

create trigger graph_agents_new after insert or delete on seedcore.agents
  for each row execute function seedcore.graph_row_changed('agent', 'id', 'organ,lifecycle');
create trigger graph_agents_now after update of organ, lifecycle on seedcore.agents
  for each row when (old.organ is distinct from new.organ or old.lifecycle is distinct from new.lifecycle)
  execute function seedcore.graph_row_changed('agent', 'id', 'organ,lifecycle');
create trigger graph_organs_new after insert or delete on seedcore.organs
  for each row execute function seedcore.graph_row_changed('organ', 'id', 'spec,removed');
create trigger graph_organs_now after update on seedcore.organs
  for each row when (old.spec is distinct from new.spec or old.removed is distinct from new.removed)
  execute function seedcore.graph_row_changed('organ', 'id', 'spec,removed');
create trigger graph_skills_new after insert or delete on seedcore.skills
  for each row execute function seedcore.graph_row_changed('skill', 'name', 'organ,slow,platform,queue');
create trigger graph_skills_now after update on seedcore.skills
  for each row when (old.* is distinct from new.*)
  execute function seedcore.graph_row_changed('skill', 'name', 'organ,slow,platform,queue');
create trigger graph_triages_new after insert or delete on seedcore.triages
  for each row execute function seedcore.graph_row_changed('triage', 'id', 'at,stream,dry_run,action,status');
create trigger graph_triages_now after update on seedcore.triages
  for each row when (old.status is distinct from new.status)
  execute function seedcore.graph_row_changed('triage', 'id', 'at,stream,dry_run,action,status');
create trigger graph_flashbulbs_new after insert or delete on seedcore.flashbulbs
  for each row execute function seedcore.graph_row_changed('flashbulb', 'id', 'created_at,kind,salience,payload>stream,payload>type,payload>code,payload>tenant,payload>triage_id,payload>task_id');
create trigger graph_flashbulbs_now after update on seedcore.flashbulbs
  for each row when (old.* is distinct from new.*)
  execute function seedcore.graph_row_changed('flashbulb', 'id', 'created_at,kind,salience,payload>stream,payload>type,payload>code,payload>tenant,payload>triage_id,payload>task_id');
create trigger graph_facts_new after insert or delete on seedcore.facts
  for each row execute function seedcore.graph_row_changed('fact', 'id', 'tenant,subject,predicate,object,source,valid_from,valid_to');
create trigger graph_facts_now after update on seedcore.facts
  for each row when (old.* is distinct from new.*)
  execute function seedcore.graph_row_changed('fact', 'id', 'tenant,subject,predicate,object,source,valid_from,valid_to');
create trigger graph_fact_uses_new after insert or delete on seedcore.fact_uses
  for each row execute function seedcore.graph_row_changed('fact_use', 'fact_id,task_id', 'fact_id,task_id,at');
create trigger graph_model_aliases_new after insert or delete on seedcore.model_aliases
  for each row execute function seedcore.graph_row_changed('alias', 'name,alias', 'name,alias,version,since,set_by');
create trigger graph_model_aliases_now after update on seedcore.model_aliases
  for each row when (old.* is distinct from new.*)
  execute function seedcore.graph_row_changed('alias', 'name,alias', 'name,alias,version,since,set_by');
create trigger graph_promotions_new after insert or delete on seedcore.promotions
  for each row execute function seedcore.graph_row_changed('promotion', 'id', 'name,champion,candidate,status,forced,opened_by,opened_at,decided_at');
create trigger graph_promotions_now after update on seedcore.promotions
  for each row when (old.status is distinct from new.status)
  execute function seedcore.graph_row_changed('promotion', 'id', 'name,champion,candidate,status,forced,opened_by,opened_at,decided_at');
create trigger graph_retrainings_new after insert or delete on seedcore.retrainings
  for each row execute function seedcore.graph_row_changed('retraining', 'triage', 'triage,name,task_id,at');
create trigger graph_planned after insert on seedcore.held
  for each row when (new.plan is not null) execute function seedcore.graph_plan_held();
create trigger graph_plan_over after delete on seedcore.held
  for each row when (old.plan is not null) execute function seedcore.graph_plan_held();
create trigger graph_dead after insert on seedcore.dead referencing new table as gone_wrong
  for each statement execute function seedcore.graph_dead();
create trigger graph_not_dead after delete on seedcore.dead referencing old table as gone_right
  for each statement execute function seedcore.graph_not_dead();
