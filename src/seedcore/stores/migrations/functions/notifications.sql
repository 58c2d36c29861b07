-- Wakes those who wait for tasks or events: lanes, `NOTIFY`, and the locks that say who waits.

-- A NOTIFY takes a lock that all of a server's commits share, so it is sent only to those who sleep: a dispatcher holds a
-- shared advisory lock (24301, lane) while it is idle, a follower of events holds (24302, 'events'). A wake-up that is lost
-- in a race costs one poll.
create or replace function seedcore.lane(queue text, slow boolean) returns text language sql immutable parallel safe as $$
  select case when slow then queue || '~slow' else queue end
$$;

create or replace function seedcore.someone(class integer, key integer) returns boolean language sql volatile as $$
  select case when pg_try_advisory_lock(class, key) then not pg_advisory_unlock(class, key) else true end
$$;

create or replace function seedcore.wake(queue text, slow boolean) returns void language plpgsql volatile as $$
begin
  if seedcore.someone(24301, hashtext(seedcore.lane(queue, slow))) then
    perform pg_notify('seedcore_ready', seedcore.lane(queue, slow));
  end if;
end $$;

create or replace function seedcore.tell() returns void language plpgsql volatile as $$
begin
  if seedcore.someone(24302, hashtext('events')) then
    perform pg_notify('seedcore_events', '');
  end if;
end $$;
