-- `enqueue` takes what a submit over HTTP takes, and stores the same row. The bounds are those of `tasks/options.py`.

-- What an operator has set and SQL must know: `max_attempts`, `max_params_bytes`. Every gateway writes both tables when
-- it starts; what is not there has the settings' default.
create table seedcore.settings (
  name  text primary key,
  value bigint not null
);

-- What skills declare about their tasks; `max_attempts` is null where the setting holds.
create table seedcore.skills (
  name         text primary key,
  slow         boolean not null,
  max_attempts smallint
);

-- Whoever may submit reads these; there is nothing secret in them.
grant select on seedcore.settings, seedcore.skills to public;

-- A rate so small that the time of the next start cannot be written down stops every key's tasks.
update seedcore.limits set rate_per_s = 1e-8 where rate_per_s < 1e-8;

create function seedcore.refuse(what text) returns void language plpgsql as $$
begin
  raise exception 'seedcore.enqueue: %', what using errcode = 'invalid_parameter_value';
end $$;

create function seedcore.refuse_unknown(given jsonb, what text, known text[]) returns void language plpgsql as $$
declare
  unknown text;
begin
  if jsonb_typeof(given) <> 'object' then
    perform seedcore.refuse(format('%s must be a JSON object', what));
  end if;
  select string_agg(k, ', ') into unknown from jsonb_object_keys(given) k where k <> all(known);
  if unknown is not null then
    raise exception 'seedcore.enqueue: unknown %: %', what, unknown using errcode = 'invalid_parameter_value',
      hint = format('Allowed: %s.', array_to_string(known, ', '));
  end if;
end $$;

-- An option that is a text; null when it is not given.
create function seedcore.option_text(options jsonb, name text, lowest integer, highest integer) returns text
language plpgsql as $$
declare
  kind  text := coalesce(jsonb_typeof(options->name), 'null');
  value text := options->>name;
begin
  if kind = 'null' then
    return null;
  end if;
  if kind <> 'string' then
    perform seedcore.refuse(format('%s must be a text', name));
  end if;
  if length(value) not between lowest and highest then
    perform seedcore.refuse(format('%s must have %s to %s characters, not %s', name, lowest, highest, length(value)));
  end if;
  return value;
end $$;

-- An option that is a number (or a text that holds one); null when it is not given.
create function seedcore.option_number(options jsonb, name text, lowest numeric, highest numeric, whole boolean) returns numeric
language plpgsql as $$
declare
  kind  text := coalesce(jsonb_typeof(options->name), 'null');
  value numeric;
begin
  if kind = 'null' then
    return null;
  end if;
  if kind not in ('number', 'string') or not pg_input_is_valid(options->>name, 'numeric') then
    perform seedcore.refuse(format('%s must be a number', name));
  end if;
  value := (options->>name)::numeric;
  if value not between lowest and highest or (whole and value <> trunc(value)) then
    perform seedcore.refuse(format('%s must be a%s number of %s to %s', name, case when whole then ' whole' else '' end,
                                   lowest, highest));
  end if;
  return value;
end $$;

-- An option that is a time with its zone, or seconds or milliseconds since 1970 (those beyond 2e10); null when it is not
-- given.
create function seedcore.option_time(options jsonb, name text) returns timestamptz language plpgsql as $$
declare
  kind  text := coalesce(jsonb_typeof(options->name), 'null');
  value text := options->>name;
  since numeric;
  at    timestamptz;
begin
  if kind = 'null' then
    return null;
  end if;
  if kind = 'number' or value ~ '^[+-]?\d+(\.\d+)?$' then
    since := value::numeric;
    since := case when abs(since) > 2e10 then since / 1000 else since end;
    at := case when since between 0 and 253370764799 then to_timestamp(since::double precision) end;
  elsif value ~ '^\d{4}-\d\d-\d\d[T ].*(Z|[+-]\d\d(:?\d\d)?)$' and pg_input_is_valid(value, 'timestamptz') then
    at := value::timestamptz;
  else
    perform seedcore.refuse(format('%s must be a time with its zone, such as 2030-01-31T12:00:00Z', name));
  end if;
  if at is null or at < '1970-01-01T00:00:00Z' or at > '9998-12-31T23:59:59Z' then
    perform seedcore.refuse(format('%s must lie in the years 1970 to 9998', name));
  end if;
  return at;
end $$;

-- Why params cannot be read by every skill, or null when they can; as `utils/jsontext.py` and JSON's own writers there
-- judge. A whole number of more than 64 bits is read as a double: one that none equals would be changed.
create function seedcore.unfit(value jsonb) returns text language plpgsql immutable set extra_float_digits = 1 as $$
begin
  if jsonb_path_exists(value, 'strict $.**{100} ? (@.type() == "object" || @.type() == "array")') then
    return 'nest deeper than 100 levels';
  end if;
  -- That settles it for nearly all: the text has no exponents.
  if value::text !~ '[0-9]{19}' then
    return null;
  end if;
  if jsonb_path_exists(value, 'strict $.** ? (@.type() == "number")
                               ? (@ > 1.7976931348623157e308 || @ < -1.7976931348623157e308)') then
    return 'hold a number that no double can hold';
  end if;
  if exists (select 1 from jsonb_path_query(value, 'strict $.** ? (@.type() == "number")
                                                    ? (@ > 18446744073709551615 || @ < -9223372036854775808)') n
              where n::numeric = trunc(n::numeric) and n::numeric <> n::float8::text::numeric) then
    return 'hold a whole number of more than 64 bits';
  end if;
  return null;
end $$;

-- How long a value is as JSON without spaces, which is how HTTP counts it.
create function seedcore.compact_bytes(value jsonb) returns integer language sql immutable as $$
  select octet_length(value::text)
         - length(regexp_replace(regexp_replace(value::text, '"(?:[^"\\]|\\.)*"', '', 'g'), '[^ ]+', '', 'g'))
$$;

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
