-- Checks the options and params of `seedcore.enqueue`.

create or replace function seedcore.refuse(what text) returns void language plpgsql as $$
begin
  raise exception 'seedcore.enqueue: %', what using errcode = 'invalid_parameter_value';
end $$;

create or replace function seedcore.refuse_unknown(given jsonb, what text, known text[]) returns void language plpgsql as $$
declare
  unknown text;
begin
  if jsonb_typeof(given) <> 'object' then
    perform seedcore.refuse(format('%s must be a JSON object', what));
  end if;
  if given - known = '{}' then
    return;
  end if;
  select string_agg(k, ', ') into unknown from jsonb_object_keys(given) k where k <> all(known);
  if unknown is not null then
    raise exception 'seedcore.enqueue: unknown %: %', what, unknown using errcode = 'invalid_parameter_value',
      hint = format('Allowed: %s.', array_to_string(known, ', '));
  end if;
end $$;

-- An option that is a text; null when it is not given.
create or replace function seedcore.option_text(options jsonb, name text, lowest integer, highest integer) returns text
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
create or replace function seedcore.option_number(options jsonb, name text, lowest numeric, highest numeric, whole boolean) returns numeric
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
create or replace function seedcore.option_time(options jsonb, name text) returns timestamptz language plpgsql as $$
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

-- The limits of a task, each of another key.
create or replace function seedcore.option_limits(given jsonb)
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

-- Why params cannot be read by every skill, or null when they can; as `utils/jsontext.py` and JSON's own writers there
-- judge. A whole number of more than 64 bits is read as a double: one that none equals would be changed.
create or replace function seedcore.unfit(value jsonb) returns text language plpgsql immutable set extra_float_digits = 1 as $$
begin
  -- Every level takes two characters.
  if octet_length(value::text) > 200
     and jsonb_path_exists(value, 'strict $.**{100} ? (@.type() == "object" || @.type() == "array")') then
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
create or replace function seedcore.compact_bytes(value jsonb) returns integer language sql immutable as $$
  select octet_length(value::text)
         - length(regexp_replace(regexp_replace(value::text, '"(?:[^"\\]|\\.)*"', '', 'g'), '[^ ]+', '', 'g'))
$$;
