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
create or replace function seedcore.admit(keys text[]) returns integer language plpgsql as $$
declare
  gate  seedcore.limits%rowtype;
  stock double precision;
  room  integer;
  moved integer;
  total integer := 0;
begin
  for gate in select * from seedcore.limits l where l.key = any(keys) order by l.key for update loop
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
        returning id, queue, slow, rank, attempts)
      , noted as (insert into seedcore.admitted (id, key) select id, gate.key from go on conflict (id, key) do nothing)
      , moves as (insert into seedcore.ready (queue, slow, rank, attempts, id)
                  select queue, slow, rank, attempts, id from go returning queue, slow)
      , woken as (select count(seedcore.wake(m.queue, m.slow)) from (select distinct queue, slow from moves) m)
      select count(*) into moved from go, woken;
    end if;
    update seedcore.limits l set
      tokens = stock - case when l.rate_per_s is null then 0 else moved end,
      refilled_at = clock_timestamp(),
      next_at = case when l.rate_per_s is not null and exists (select 1 from seedcore.gated g where g.key = l.key)
                     then clock_timestamp() + make_interval(secs => greatest(1 - (stock - moved), 0) / l.rate_per_s) end
     where l.key = gate.key;
    total := total + moved;
  end loop;
  return total;
end $$;
