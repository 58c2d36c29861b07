-- The errors of a task's attempts.

-- The errors of a task's attempts before its last one, and that one.
create or replace function seedcore.errors_of(task uuid, attempt integer, code text, message text) returns jsonb
language sql stable as $$
  select coalesce(jsonb_agg(jsonb_build_object('attempt', e.data->'attempt', 'at', e.at, 'code', e.data->>'code',
                                               'message', e.data->>'message') order by e.tick), '[]')
         || jsonb_build_array(jsonb_build_object('attempt', attempt, 'at', now(), 'code', code, 'message', message))
  from seedcore.events e where e.task_id = task and e.event = 'retried' and e.data ? 'code'
$$;
