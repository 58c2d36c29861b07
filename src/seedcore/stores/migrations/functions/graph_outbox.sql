-- What waits for the graph: triggers write it in the transaction that changed the thing; the sync takes it away.

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
