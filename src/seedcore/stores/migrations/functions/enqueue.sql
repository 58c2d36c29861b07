-- Submits a task from SQL.

-- Whether a task is stored no longer. A function, so that a submission does not open the partitions of all days only in
-- case a key was used; and so that it looks into an index, though its plan was made when the table was empty.
create or replace function seedcore.task_is_gone(task uuid) returns boolean language plpgsql set enable_seqscan = off as $$
begin
  return not exists (select 1 from seedcore.tasks t where t.id = task);
end $$;

-- Whether somebody has used a key, even if it is free again. A function for its plan's sake, too.
create or replace function seedcore.key_is_used(the_queue text, the_key text) returns boolean language plpgsql
set enable_seqscan = off as $$
begin
  return exists (select 1 from seedcore.idempotency i where i.queue = the_queue and i.key = the_key);
end $$;

-- Submit from SQL, inside the caller's own transaction. It runs with its owner's rights: a role that submits needs USAGE on
-- the schema and EXECUTE on this, and can neither read tables nor, with a row in `sql_roles`, submit for another tenant.
create or replace function seedcore.enqueue(type text, params jsonb, options jsonb default '{}') returns uuid
language plpgsql security definer set search_path = seedcore, pg_temp as $$
declare
  new_task  uuid := seedcore.new_id();
  first     uuid;
  same      boolean;
  the_limit jsonb := nullif(options->'limit', 'null');
  gates     jsonb := nullif(options->'limits', 'null');
  the_queue text;
  tenant_of text := (select r.tenant from seedcore.sql_roles r where r.role = session_user::text);
  is_bound  boolean := tenant_of is not null;
  wanted    text;
  trace     text;
  prefix    text := '';
  the_key   text;
  key_space text;
  the_gate  text;
  the_area  text;
  due       timestamptz;
  until     timestamptz;
  prio      smallint := 0;
  tries     smallint;
  time_s    real;
  kept_s    double precision;
  is_slow   boolean;
  most      bigint;
  why       text;
begin
  if type is null or length(type) not between 1 and 200 then
    perform seedcore.refuse('type must have 1 to 200 characters');
  end if;
  -- Most have few options or none: each call costs as much as all that such a task needs to be checked.
  if options <> '{}' then
    perform seedcore.refuse_unknown(options, 'options', array['queue', 'idempotency_key', 'idempotency_period_s', 'run_after',
      'deadline', 'priority', 'domain', 'max_attempts', 'timeout_s', 'limit', 'limits', 'tenant', 'traceparent']);
    if options ? 'queue' then
      the_queue := seedcore.option_text(options, 'queue', 0, 1000);
    end if;
    if the_queue !~ '^[a-z][a-z0-9_-]{0,62}$' then
      raise exception 'seedcore.enqueue: invalid queue name: %', the_queue using errcode = 'invalid_parameter_value',
        hint = 'A small letter, then up to 62 small letters, digits, _ or -.';
    end if;
    if options ? 'tenant' then
      wanted := seedcore.option_text(options, 'tenant', 0, 1000);
      if wanted !~ '^[a-z][a-z0-9-]{0,39}$' then
        raise exception 'seedcore.enqueue: invalid tenant: %', wanted using errcode = 'invalid_parameter_value',
          hint = 'A small letter, then up to 39 small letters, digits or -.';
      end if;
      if wanted <> tenant_of then
        raise exception 'seedcore.enqueue: the role % submits for the tenant % alone', session_user, tenant_of
          using errcode = 'insufficient_privilege';
      end if;
      tenant_of := coalesce(wanted, tenant_of);
    end if;
    if options ? 'traceparent' then
      -- A malformed one is ignored, as the W3C's standard wants; of a later version, what version 00 knows is taken.
      trace := seedcore.option_text(options, 'traceparent', 0, 1000);
      trace := '00' || substr(substring(trace from
        '^(?!ff)(?!00.{53}-)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?=-|$)'), 3);
    end if;
    if options ? 'domain' then
      the_area := seedcore.option_text(options, 'domain', 0, 200);
    end if;
    if options ? 'priority' then
      prio := coalesce(seedcore.option_number(options, 'priority', -100, 100, true), 0);
    end if;
    if options ? 'max_attempts' then
      tries := seedcore.option_number(options, 'max_attempts', 1, 100, true);
    end if;
    if options ? 'timeout_s' then
      time_s := seedcore.option_number(options, 'timeout_s', 0.001, 86400, false);
    end if;
    if options ? 'run_after' then
      due := seedcore.option_time(options, 'run_after');
    end if;
    if options ? 'deadline' then
      until := seedcore.option_time(options, 'deadline');
    end if;
    if options ? 'idempotency_key' then
      the_key := seedcore.option_text(options, 'idempotency_key', 1, 500);
    end if;
    if options ? 'idempotency_period_s' then
      kept_s := seedcore.option_number(options, 'idempotency_period_s', 0.001, 31622400, false);
    end if;
  end if;
  tenant_of := coalesce(tenant_of, 'default');
  if the_limit is not null then
    if gates is not null then
      perform seedcore.refuse('give either limit or limits');
    end if;
    gates := jsonb_build_array(the_limit);
  end if;
  if gates is not null and tenant_of <> 'default' then
    prefix := tenant_of || E'\x1f';
  end if;
  if gates is not null then
    perform from seedcore.option_limits(gates);
  end if;
  if jsonb_typeof(params) is distinct from 'object' then
    perform seedcore.refuse('params must be a JSON object');
  end if;
  select coalesce((select s.value from seedcore.settings s where s.name = 'max_params_bytes'), 262144),
         type = 'goal' or coalesce(k.slow, false),
         coalesce(tries, k.max_attempts, (select s.value from seedcore.settings s where s.name = 'max_attempts'), 5),
         -- While the schema is brought up to date, the column may not be there yet.
         coalesce(the_queue, to_jsonb(k)->>'queue', 'default')
    into most, is_slow, tries, the_queue
    from (values (enqueue.type)) g(name) left join seedcore.skills k on k.name = g.name;
  if octet_length(params::text) > most and seedcore.compact_bytes(params) > most then
    perform seedcore.refuse(format('params are larger than %s bytes (SEEDCORE_MAX_PARAMS_BYTES)', most));
  end if;
  if is_bound and exists (select 1 from seedcore.skills k where k.name = enqueue.type and k.platform) then
    raise exception 'seedcore.enqueue: % changes what all tenants use, and the role % submits for one', type, session_user
      using errcode = 'insufficient_privilege';
  end if;
  why := seedcore.unfit(params);
  if why is not null then
    perform seedcore.refuse('params ' || why);
  end if;
  if the_key is not null then
    key_space := case when tenant_of = 'default' then the_queue else the_queue || '@' || tenant_of end;
    insert into seedcore.idempotency as i (queue, key, task_id, expires_at)
    values (key_space, the_key, new_task, now() + make_interval(secs => kept_s))
    on conflict on constraint idempotency_pkey do update set task_id = excluded.task_id, created_at = now(),
      expires_at = excluded.expires_at
      where i.expires_at <= now() or (i.created_at < now() - interval '1 hour'
            and seedcore.task_is_gone(i.task_id));
    if not found then
      select t.id, t.type = enqueue.type and t.params = enqueue.params into first, same
        from seedcore.idempotency i join seedcore.tasks t on t.id = i.task_id
       where i.queue = key_space and i.key = the_key;
      if not same then
        raise exception 'seedcore.enqueue: idempotency_key % was used with another type or params', the_key
          using errcode = 'unique_violation';
      end if;
      return first;
    end if;
  end if;
  if gates is not null then
    -- In the order that all submitters take the keys in.
    perform seedcore.set_limit(l.stored, l.running, l.per_s, l.at_once)
       from (select prefix || n.key as stored, n.* from seedcore.option_limits(gates) n order by 1) l;
    select min(prefix || n.key collate "C"),
           case when count(*) > 1 or bool_or(n.cost <> 1)
                then jsonb_agg(jsonb_build_object('key', prefix || n.key, 'cost', n.cost) order by n.key collate "C") end
      into the_gate, gates from seedcore.option_limits(gates) n;
  end if;
  insert into seedcore.tasks (id, type, params, queue, slow, domain, priority, max_attempts, timeout_s, run_after, deadline,
                              limit_key, limits, idempotency_key, tenant, traceparent)
  values (new_task, enqueue.type, enqueue.params, the_queue, is_slow, the_area, prio, tries, time_s, due, until, the_gate,
          gates, the_key, tenant_of, trace);
  if until is not null then
    insert into seedcore.deadlines (id, at) values (new_task, until);
    perform pg_notify('seedcore_later', extract(epoch from until - now())::text);
  end if;
  if due is not null and due > now() then
    insert into seedcore.deferred (id, run_at) values (new_task, due);
    perform pg_notify('seedcore_later', extract(epoch from due - now())::text);
  elsif the_gate is not null then
    insert into seedcore.gated (id, key, queue, slow, rank, tenant, limits)
    values (new_task, the_gate, the_queue, is_slow, -prio, tenant_of, gates);
    perform pg_notify('seedcore_later', '0');
  else
    insert into seedcore.ready (id, queue, slow, rank, tenant) values (new_task, the_queue, is_slow, -prio, tenant_of);
    perform seedcore.wake(the_queue, is_slow);
  end if;
  insert into seedcore.events (event, task_ids) values ('submitted', array[new_task]);
  perform seedcore.tell();
  return new_task;
end $$;
