-- Makes and drops the partitions of a day: retention.

-- Make the partitions of `days` days (UTC) from `first` on, where they are missing: `tasks_d20260131` and so on. What
-- the default partition holds of that day moves in.
create or replace function seedcore.make_partitions(first date, days integer) returns integer language plpgsql as $$
declare
  day  date;
  made integer := 0;
  kind text;
  part text;
  lo   text;
  hi   text;
  col  text;
begin
  for day in select first + n from generate_series(0, days - 1) n loop
    foreach kind in array array['tasks', 'finished', 'events'] loop
      part := kind || '_d' || to_char(day, 'YYYYMMDD');
      continue when to_regclass('seedcore.' || part) is not null;
      col := case kind when 'events' then 'at' else 'id' end;
      lo := (day::timestamp at time zone 'utc')::text;
      hi := ((day + 1)::timestamp at time zone 'utc')::text;
      if kind <> 'events' then
        lo := seedcore.first_id(lo::timestamptz)::text;
        hi := seedcore.first_id(hi::timestamptz)::text;
      end if;
      -- Made apart and attached: that does not wait for those who read and write the table.
      execute format('create table seedcore.%I (like seedcore.%I including defaults including constraints including indexes)'
                     ' with (autovacuum_analyze_scale_factor = 0.05)', part, kind);
      execute format('with moved as (delete from seedcore.%I where %I >= %L and %I < %L returning *)'
                     ' insert into seedcore.%I select * from moved', kind || '_default', col, lo, col, hi, part);
      execute format('alter table seedcore.%I attach partition seedcore.%I for values from (%L) to (%L)', kind, part, lo, hi);
      made := made + 1;
    end loop;
  end loop;
  return made;
end $$;

-- Forget a day's tasks: its partitions go as a whole. Those that live, are dead letters, or ended later than `kept_s` ago
-- move to the default partitions first. It gives up when somebody's long transaction is in the way; call it again later.
create or replace function seedcore.drop_day(day text, kept_s double precision) returns void language plpgsql
set lock_timeout = '500ms' as $$
declare
  from_id uuid := seedcore.first_id(to_date(day, 'YYYYMMDD')::timestamp at time zone 'utc');
  to_id   uuid := seedcore.first_id((to_date(day, 'YYYYMMDD') + 1)::timestamp at time zone 'utc');
  cutoff  timestamptz := now() - make_interval(secs => kept_s);
  old_tasks    text := 'tasks_d' || day;
  old_finished text := 'finished_d' || day;
begin
  execute format('alter table seedcore.finished detach partition seedcore.%I', old_finished);
  execute format('alter table seedcore.tasks detach partition seedcore.%I', old_tasks);
  execute format('insert into seedcore.finished select * from seedcore.%I where finished_at >= $1', old_finished) using cutoff;
  execute format('insert into seedcore.tasks select t.* from seedcore.%I t where t.id in (
      select id from seedcore.ready where id >= $1 and id < $2 union
      select id from seedcore.deferred where id >= $1 and id < $2 union
      select id from seedcore.gated where id >= $1 and id < $2 union
      select id from seedcore.held where id >= $1 and id < $2 union
      select id from seedcore.leases where id >= $1 and id < $2 union
      select id from seedcore.dead where id >= $1 and id < $2 union
      select id from seedcore.finished_default where id >= $1 and id < $2)', old_tasks) using from_id, to_id;
  execute format('drop table seedcore.%I, seedcore.%I', old_tasks, old_finished);
end $$;

create or replace function seedcore.drop_events(day text) returns void language plpgsql set lock_timeout = '500ms' as $$
begin
  execute format('drop table seedcore.%I', 'events_d' || day);
end $$;
