-- Submits a task from SQL.

-- Submit from SQL, inside the caller's own transaction.
create or replace function seedcore.enqueue(type text, params jsonb, options jsonb default '{}') returns uuid
language plpgsql as $$
declare
  new_task  uuid := seedcore.new_id();
  first     seedcore.tasks%rowtype;
  skill     seedcore.skills%rowtype;
  the_limit jsonb := nullif(options->'limit', 'null');
  the_queue text;
  the_key   text;
  the_gate  text;
  the_area  text;
  due       timestamptz;
  until     timestamptz;
  prio      smallint;
  tries     smallint;
  time_s    real;
  kept_s    double precision;
  running   integer;
  per_s     double precision;
  at_once   integer;
  is_slow   boolean;
  most      integer;
  why       text;
begin
  perform seedcore.refuse_unknown(options, 'options', array['queue', 'idempotency_key', 'idempotency_period_s', 'run_after',
    'deadline', 'priority', 'domain', 'max_attempts', 'timeout_s', 'limit']);
  if type is null or length(type) not between 1 and 200 then
    perform seedcore.refuse('type must have 1 to 200 characters');
  end if;
  the_queue := coalesce(seedcore.option_text(options, 'queue', 0, 1000), 'default');
  if the_queue !~ '^[a-z][a-z0-9_-]{0,62}$' then
    raise exception 'seedcore.enqueue: invalid queue name: %', the_queue using errcode = 'invalid_parameter_value',
      hint = 'A small letter, then up to 62 small letters, digits, _ or -.';
  end if;
  the_area := seedcore.option_text(options, 'domain', 0, 200);
  prio := coalesce(seedcore.option_number(options, 'priority', -100, 100, true), 0);
  tries := seedcore.option_number(options, 'max_attempts', 1, 100, true);
  time_s := seedcore.option_number(options, 'timeout_s', 0.001, 86400, false);
  due := seedcore.option_time(options, 'run_after');
  until := seedcore.option_time(options, 'deadline');
  the_key := seedcore.option_text(options, 'idempotency_key', 1, 500);
  kept_s := seedcore.option_number(options, 'idempotency_period_s', 0.001, 31622400, false);
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
  most := coalesce((select s.value from seedcore.settings s where s.name = 'max_params_bytes'), 262144);
  if octet_length(params::text) > most and seedcore.compact_bytes(params) > most then
    perform seedcore.refuse(format('params are larger than %s bytes (SEEDCORE_MAX_PARAMS_BYTES)', most));
  end if;
  why := seedcore.unfit(params);
  if why is not null then
    perform seedcore.refuse('params ' || why);
  end if;
  select * into skill from seedcore.skills s where s.name = enqueue.type;
  is_slow := type = 'goal' or coalesce(skill.slow, false);
  tries := coalesce(tries, skill.max_attempts,
                    (select s.value from seedcore.settings s where s.name = 'max_attempts'), 5);
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
