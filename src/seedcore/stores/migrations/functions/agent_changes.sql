-- Marks which transaction changed an agent last.

-- Whoever updates an agent without naming its change (hosts of the release before) changes it all the same.
create or replace function seedcore.agent_changed() returns trigger language plpgsql as $$
begin
  new.change := pg_current_xact_id();
  return new;
end $$;
