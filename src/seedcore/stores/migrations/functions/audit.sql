-- Keeps the audit log append-only, but for its retention.

create or replace function seedcore.refuse_audit_change() returns trigger language plpgsql as $$
begin
  if coalesce(current_setting('seedcore.audit_retention', true), '') <> 'on' or tg_op <> 'DELETE' then
    raise exception 'seedcore.audit is append-only' using errcode = 'insufficient_privilege';
  end if;
  return old;
end $$;

-- Forget what is older than that, and return how much it was.
create or replace function seedcore.forget_audit(kept_s double precision) returns bigint language plpgsql as $$
declare
  gone bigint;
begin
  perform set_config('seedcore.audit_retention', 'on', true);
  delete from seedcore.audit where id < seedcore.first_id(now() - make_interval(secs => kept_s));
  get diagnostics gone = row_count;
  perform set_config('seedcore.audit_retention', '', true);
  return gone;
end $$;
