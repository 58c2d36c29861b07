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

-- Submit from SQL, inside the caller's own transaction.
create or replace function seedcore.enqueue(type text, params jsonb, options jsonb default '{}') returns uuid
language plpgsql as $$
declare
  new_task  uuid := seedcore.new_id();
  first     uuid;
  same      boolean;
  the_limit jsonb := nullif(options->'limit', 'null');
  the_queue text := 'default';
  the_key   text;
  the_gate  text;
  the_area  text;
  due       timestamptz;
  until     timestamptz;
  prio      smallint := 0;
  tries     smallint;
  time_s    real;
  kept_s    double precision;
  running   integer;
  per_s     double precision;
  at_once   integer;
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
      'deadline', 'priority', 'domain', 'max_attempts', 'timeout_s', 'limit']);
    if options ? 'queue' then
      the_queue := coalesce(seedcore.option_text(options, 'queue', 0, 1000), the_queue);
    end if;
    if the_queue !~ '^[a-z][a-z0-9_-]{0,62}$' then
      raise exception 'seedcore.enqueue: invalid queue name: %', the_queue using errcode = 'invalid_parameter_value',
        hint = 'A small letter, then up to 62 small letters, digits, _ or -.';
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
  if the_limit is not null then
    perform seedcore.refuse_unknown(the_limit, 'limit', array['key', 'max_running', 'rate_per_s', 'burst']);
    the_gate := seedcore.option_text(the_limit, 'key', 1, 200);
    if the_gate is null then
      perform seedcore.refuse('limit needs a key of 1 to 200 characters');
    end if;
    running := seedcore.option_number(the_limit, 'max_running', 1, 1000000, true);
    per_s := seedcore.option_number(the_limit, 'rate_per_s', 0.00000001, 1000000, false);
    at_once := seedcore.option_number(the_limit, 'burst', 1, 1000000, true);
  end if;
  if jsonb_typeof(params) is distinct from 'object' then
    perform seedcore.refuse('params must be a JSON object');
  end if;
  select coalesce((select s.value from seedcore.settings s where s.name = 'max_params_bytes'), 262144),
         type = 'goal' or coalesce(k.slow, false),
         coalesce(tries, k.max_attempts, (select s.value from seedcore.settings s where s.name = 'max_attempts'), 5)
    into most, is_slow, tries
    from (values (enqueue.type)) g(name) left join seedcore.skills k on k.name = g.name;
  if octet_length(params::text) > most and seedcore.compact_bytes(params) > most then
    perform seedcore.refuse(format('params are larger than %s bytes (SEEDCORE_MAX_PARAMS_BYTES)', most));
  end if;
  why := seedcore.unfit(params);
  if why is not null then
    perform seedcore.refuse('params ' || why);
  end if;
  if the_key is not null then
    insert into seedcore.idempotency as i (queue, key, task_id, expires_at)
    values (the_queue, the_key, new_task, now() + make_interval(secs => kept_s))
    on conflict on constraint idempotency_pkey do update set task_id = excluded.task_id, created_at = now(),
      expires_at = excluded.expires_at
      where i.expires_at <= now() or (i.created_at < now() - interval '1 hour'
            and seedcore.task_is_gone(i.task_id));
    if not found then
      select t.id, t.type = enqueue.type and t.params = enqueue.params into first, same
        from seedcore.idempotency i join seedcore.tasks t on t.id = i.task_id
       where i.queue = the_queue and i.key = the_key;
      if not same then
        raise exception 'seedcore.enqueue: idempotency_key % was used with another type or params', the_key
          using errcode = 'unique_violation';
      end if;
      return first;
    end if;
  end if;
  insert into seedcore.tasks (id, type, params, queue, slow, domain, priority, max_attempts, timeout_s, run_after, deadline,
                              limit_key, idempotency_key)
  values (new_task, enqueue.type, enqueue.params, the_queue, is_slow, the_area, prio, tries, time_s, due, until, the_gate,
          the_key);
  if until is not null then
    insert into seedcore.deadlines (id, at) values (new_task, until);
    perform pg_notify('seedcore_later', extract(epoch from until - now())::text);
  end if;
  if the_gate is not null then
    perform seedcore.set_limit(the_gate, running, per_s, at_once);
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
