-- Limits of keys: sets one, and admits gated tasks as far as theirs allow.

-- Define a key's limit. What is not given stays; a new key that says nothing lets one task run at a time. A row that
-- already says so is not written, so that submitters do not wait for each other.
create or replace function seedcore.set_limit(the_key text, running integer, per_s double precision, the_burst integer) returns void
language plpgsql as $$
begin
  insert into seedcore.limits as l (key, max_running, rate_per_s, burst, tokens)
  values (the_key, case when running is null and per_s is null then 1 else running end, per_s, coalesce(the_burst, 1),
          coalesce(the_burst, 1))
  on conflict (key) do nothing;
  update seedcore.limits l set max_running = coalesce(running, l.max_running), rate_per_s = coalesce(per_s, l.rate_per_s),
         burst = coalesce(the_burst, l.burst)
   where l.key = the_key and (l.max_running is distinct from coalesce(running, l.max_running)
         or l.rate_per_s is distinct from coalesce(per_s, l.rate_per_s) or l.burst <> coalesce(the_burst, l.burst));
end $$;

-- Let tasks of these keys through, the highest priority first, as far as their limits allow. The key's row is the lock.
-- A key that somebody else has locked is passed over, since that transaction may stay open: the reaper comes back.
-- Whoever does so, the reaper hears when a key that had no such time is due next.
-- Where tasks wait that have several keys or a cost, they are looked at one by one.
create or replace function seedcore.admit(keys text[]) returns integer language plpgsql as $$
declare
  gate  seedcore.limits%rowtype;
  stock double precision;
  room  integer;
  moved integer;
  total integer := 0;
  done  text[] := '{}';
begin
  if exists (select 1 from unnest(keys) k(key) cross join lateral (
               select 1 from seedcore.gated g where g.key = k.key and g.limits is not null limit 1) s) then
    return seedcore.admit_several(keys);
  end if;
  for gate in select * from seedcore.limits l where l.key = any(keys) order by l.key for update skip locked loop
    done := done || gate.key;
    delete from seedcore.admitted a where a.key = gate.key
       and not exists (select 1 from seedcore.ready r where r.id = a.id)
       and not exists (select 1 from seedcore.leases l where l.id = a.id)
       and not exists (select 1 from seedcore.held h where h.id = a.id and h.plan is not null);
    room := case when gate.max_running is null then 1000
                 else gate.max_running - (select count(*) from seedcore.admitted a where a.key = gate.key) end;
    stock := case when gate.rate_per_s is null then gate.burst else least(gate.burst,
               gate.tokens + extract(epoch from clock_timestamp() - gate.refilled_at) * gate.rate_per_s) end;
    if gate.rate_per_s is not null then
      room := least(room, floor(stock)::integer);
    end if;
    moved := 0;
    if room > 0 then
      with go as (
        delete from seedcore.gated where ctid = any(array(
          select g.ctid from seedcore.gated g where g.key = gate.key order by g.rank, g.seq limit room
          for update skip locked))
        returning id, queue, slow, rank, attempts, tenant)
      , noted as (insert into seedcore.admitted (id, key) select id, gate.key from go on conflict (id, key) do nothing)
      , moves as (insert into seedcore.ready (queue, slow, rank, attempts, id, tenant)
                  select queue, slow, rank, attempts, id, tenant from go returning queue, slow)
      , woken as (select count(seedcore.wake(m.queue, m.slow)) from (select distinct queue, slow from moves) m)
      select count(*) into moved from go, woken;
    end if;
    update seedcore.limits l set
      tokens = stock - case when l.rate_per_s is null then 0 else moved end,
      refilled_at = clock_timestamp(),
      next_at = case when l.rate_per_s is not null and exists (select 1 from seedcore.gated g where g.key = l.key)
                     then clock_timestamp() + make_interval(secs => least(greatest(1 - (stock - moved), 0) / l.rate_per_s, 1e9)) end
     where l.key = gate.key;
    perform pg_notify('seedcore_later', extract(epoch from l.next_at - clock_timestamp())::text)
       from seedcore.limits l where l.key = gate.key and gate.next_at is null and l.next_at is not null;
    total := total + moved;
  end loop;
  perform seedcore.come_back(keys, done);
  return total;
end $$;

-- Wake the reaper when tasks wait for keys that were passed over.
create or replace function seedcore.come_back(keys text[], done text[]) returns void language plpgsql as $$
begin
  if exists (select 1 from (select unnest(keys) as key except select unnest(done)) k
              where exists (select 1 from seedcore.gated g where g.key = k.key)) then
    perform pg_notify('seedcore_later', '0.1');
  end if;
end $$;

-- What is left of a key: how many more may run, and the tokens in its bucket. Tasks that let it go meanwhile are forgotten.
create or replace function seedcore.gate_state(gate seedcore.limits, out room integer, out stock double precision)
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
create or replace function seedcore.admit_several(keys text[]) returns integer language plpgsql as $$
declare
  names   text[] := '{}';
  rooms   integer[] := '{}';
  stocks  double precision[] := '{}';
  bursts  integer[] := '{}';
  timed   boolean[] := '{}';
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
    timed := timed || (gate.next_at is not null);
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
  perform pg_notify('seedcore_later', extract(epoch from min(l.next_at) - clock_timestamp())::text)
     from seedcore.limits l join unnest(names, timed) n(key, timed) on n.key = l.key
    where not n.timed having min(l.next_at) is not null;
  return total;
end $$;

-- The keys of a task that waits, with the tokens that it takes of each.
create or replace function seedcore.needs_of(the_key text, limits jsonb) returns table (key text, cost double precision)
language sql immutable as $$
  select the_key, 1.0::double precision where limits is null
  union all
  select l->>'key', (l->>'cost')::double precision from jsonb_array_elements(limits) l
$$;
