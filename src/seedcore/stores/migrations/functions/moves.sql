-- Moves for work that stopped looking like its past: first samples of a stream, and what became of a move.

-- A place in a stream's first sample: null. Without a place the task waits, for the reason that is returned. The last place
-- holds the stream. A sample that has been open for longer than `hold_s` is over, and the next one takes its place. A sample
-- that ended is followed by another only for those who knew of its end when they chose to sample (`after` is its id): a task
-- that comes from before waits for it like the others, which lets it go on at once when the sample passed.
create or replace function seedcore.join_sample(the_stream text, wanted integer, hold_s double precision, after uuid)
returns text language plpgsql as $$
declare
  s   record;
  why text;
begin
  insert into seedcore.stream_samples (stream) values (the_stream) on conflict do nothing;
  select * into s from seedcore.stream_samples x where x.stream = the_stream for update;
  if s.status in ('passed', 'failed') and s.id is distinct from after then
    return format('a first sample of %s runs before the others (sample %s)', s.size, s.id);
  end if;
  if s.status <> 'open' or s.opened_at < now() - make_interval(secs => hold_s) then
    update seedcore.stream_samples x set id = seedcore.new_id(), status = 'open', size = wanted, started = 0, good = 0,
           bad = 0, opened_at = now(), ended_at = null
     where x.stream = the_stream returning * into s;
  end if;
  why := format('a first sample of %s runs before the others (sample %s)', s.size, s.id);
  if s.started >= s.size then
    return why;
  end if;
  update seedcore.stream_samples x set started = started + 1 where x.stream = the_stream;
  if s.started + 1 = s.size then
    insert into seedcore.holds (stream, until, reason) values (the_stream, now() + make_interval(secs => hold_s), why)
    on conflict (stream) do update set since = now(), until = excluded.until, reason = excluded.reason, wait_s = null,
      triage = null where seedcore.holds.until <= now();
  end if;
  return null;
end $$;

-- Let tasks that wait for this reason go on, as if they had just been submitted; `one`: this one alone.
create or replace function seedcore.release_waiting(why text, one uuid) returns void language plpgsql as $$
declare
  woken bigint;
begin
  with freed as (
    delete from seedcore.held h
     where h.status = 'approval' and h.plan is null and h.decision->>'reason' = why and (one is null or h.id = one)
    returning h.id, h.attempts)
  , again as (
    insert into seedcore.ready (id, queue, slow, rank, attempts, tenant)
    select t.id, t.queue, t.slow, -t.priority, f.attempts, t.tenant from freed f join seedcore.tasks t on t.id = f.id
     where t.limit_key is null returning queue, slow)
  , waits as (
    insert into seedcore.gated (id, key, queue, slow, rank, attempts, tenant, limits)
    select t.id, t.limit_key, t.queue, t.slow, -t.priority, f.attempts, t.tenant, t.limits
      from freed f join seedcore.tasks t on t.id = f.id where t.limit_key is not null returning id)
  , logged as (
    insert into seedcore.events (task_id, event, data)
    select id, 'approval', jsonb_build_object('released', true, 'how', 'sample') from freed)
  , ready as (select count(seedcore.wake(d.queue, d.slow)) as n from (select distinct queue, slow from again) d)
  , roused as (select count(pg_notify('seedcore_later', '0')) as n from (select 1 from waits limit 1) w)
  select a.n + b.n into woken from ready a, roused b;
  perform seedcore.tell();
end $$;

-- A task is held for a sample that passed meanwhile, or that another one has replaced since: it goes on. The row lock makes the
-- sample's end and this take turns.
create or replace function seedcore.held_for_sample() returns trigger language plpgsql as $$
declare
  passed boolean;
begin
  select s.status = 'passed' into passed from seedcore.stream_samples s
   where s.id = substring(new.decision->>'reason' from '[(]sample ([0-9a-f-]{36})[)]$')::uuid for share;
  if passed or not found then
    perform seedcore.release_waiting(new.decision->>'reason', new.id);
  end if;
  return null;
end $$;

-- A task of a sample ended. When enough ended well (at least four of five) the tasks that wait for it go on, as if they had
-- just been submitted; when too many did not, they keep waiting, and a person decides.
create or replace function seedcore.sample_ended(the_stream text, sample uuid, good_end boolean) returns void
language plpgsql as $$
declare
  s   record;
  why text;
begin
  update seedcore.stream_samples x set good = good + good_end::int, bad = bad + (not good_end)::int
   where x.stream = the_stream and x.id = sample and x.status = 'open' returning * into s;
  if s.id is null or (s.good + s.bad < s.size and s.bad * 5 <= s.size) then
    return;
  end if;
  update seedcore.stream_samples x set status = case when s.bad * 5 <= s.size then 'passed' else 'failed' end,
         ended_at = now() where x.stream = the_stream;
  if s.bad * 5 > s.size then
    return;
  end if;
  why := format('a first sample of %s runs before the others (sample %s)', s.size, s.id);
  delete from seedcore.holds h where h.stream = the_stream and h.reason = why;
  perform seedcore.release_waiting(why, null);
end $$;

-- A plan of escalated work ended: whether its move helped, how many of its steps ran, and how long it took. What was learnt
-- is to be remembered.
create or replace function seedcore.move_ended(task uuid, good boolean) returns void language plpgsql as $$
declare
  m record;
begin
  update seedcore.move_outcomes o set helped = good, ended_at = now(), seconds = extract(epoch from now() - o.at),
         steps = (select count(*) from seedcore.tasks t join seedcore.ended e on e.id = t.id
                   where t.parent_id = task and t.created_at >= o.at and e.status <> 'cancelled')
   where o.task_id = task and o.ended_at is null
  returning o.stream, o.type, o.move, o.tenant, o.detail into m;
  if m.move is null then
    return;
  end if;
  if m.detail ? 'sample' then
    perform seedcore.sample_ended(m.stream, (m.detail->>'sample')::uuid, good);
  end if;
end $$;
