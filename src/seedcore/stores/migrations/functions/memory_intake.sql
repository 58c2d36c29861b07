-- What writes down that something is to be remembered, and how words of a memory are read.

-- The text with its names split into words: PostgreSQL reads `ACME-4711` as `acme` and the number -4711.
create or replace function seedcore.words_of(text text) returns text language sql immutable strict parallel safe as $$
  select translate(text, $c$-_./\:;,=+*#@~|<>()[]{}"'`&!?$%^$c$, repeat(' ', 32))
$$;

-- Remember a thing later. One that waits already waits once. It never waits for another transaction: two that end at
-- once may both write it. Over 100,000 rows nothing more is taken in until some are remembered; health says so.
create or replace function seedcore.remember_later(the_kind text, the_ref text, what jsonb default '{}') returns void
language plpgsql as $$
begin
  if exists (select 1 from seedcore.memory_intake i where i.kind = the_kind and i.ref = the_ref and i.taken_at is null) then
    return;
  end if;
  if (select coalesce(max(seq) - min(seq), 0) from seedcore.memory_intake) > 100000 then
    return;
  end if;
  insert into seedcore.memory_intake (kind, ref, payload) values (the_kind, the_ref, what);
end $$;

-- A plan ended: its parent waits no more.
create or replace function seedcore.remember_plan() returns trigger language plpgsql as $$
begin
  perform seedcore.remember_later('plan', old.id::text);
  return null;
end $$;

-- Tasks failed for good: one row for those of a tenant, type and code, however many.
create or replace function seedcore.remember_failures() returns trigger language plpgsql as $$
begin
  if not exists (select 1 from failed) then
    return null;
  end if;
  perform seedcore.remember_later('failure', kinds.ref, kinds.what)
  from (select t.tenant || ' ' || t.type || ' ' || f.error_code as ref,
               jsonb_build_object('tenant', t.tenant, 'type', t.type, 'code', f.error_code, 'domain', min(t.domain),
                                  'task', max(f.id::text), 'message', left(max(f.error_message), 2000)) as what
        from failed f join seedcore.tasks t on t.id = f.id group by t.tenant, t.type, f.error_code) kinds;
  return null;
end $$;

-- A triage ended, or was decided without an action.
create or replace function seedcore.remember_triage() returns trigger language plpgsql as $$
begin
  perform seedcore.remember_later('triage', new.id::text, jsonb_build_object(
    'stream', new.stream, 'action', new.action, 'status', new.status,
    'reasons', jsonb_build_object('hypotheses', new.record->'reasons'->'hypotheses'),
    'decision', new.record->'decision', 'salience', new.record->'salience'));
  return null;
end $$;

-- A fact was made, changed or removed.
create or replace function seedcore.remember_fact() returns trigger language plpgsql as $$
begin
  perform seedcore.remember_later('fact', coalesce(new.id, old.id)::text);
  return null;
end $$;
