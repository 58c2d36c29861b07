"""For operators: tenants, keys, an audit log, traces, fair shares, several limits a task, and metrics."""

from alembic import op

from seedcore.stores.migrate import run_script

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
phase = "before"
with_functions = True  # those of before do not fit the new key of `admitted`


def upgrade() -> None:
    run_script(__file__)


def downgrade() -> None:
    op.execute("alter table seedcore.skills drop column platform")
    for table in ("metric_series", "audit", "api_keys", "sql_roles", "tenants"):
        op.execute(f"drop table seedcore.{table}")
    op.execute("drop function seedcore.forget_audit(double precision)")
    op.execute("drop function seedcore.refuse_audit_change()")
    op.execute("grant execute on function seedcore.enqueue(text, jsonb, jsonb) to public")
    op.execute("drop function seedcore.option_limits(jsonb)")
    op.execute("drop index seedcore.limits_tenant")
    op.execute("drop function seedcore.admit_several(text[])")
    op.execute("drop function seedcore.needs_of(text, jsonb)")
    op.execute("drop function seedcore.come_back(text[], text[])")
    op.execute("drop function seedcore.gate_state(seedcore.limits)")
    op.execute("alter table seedcore.schedules drop column tenant")
    op.execute("delete from seedcore.admitted a using seedcore.admitted b where a.id = b.id and a.key > b.key")
    op.execute("alter table seedcore.admitted drop constraint admitted_pkey, drop column cost, add primary key (id)")
    op.execute("alter table seedcore.gated drop column tenant, drop column limits")
    op.execute("alter table seedcore.ready drop column tenant")
    op.execute("drop view seedcore.task_state")
    for column in ("tenant", "traceparent", "limits", "submitted_by"):
        op.execute(f"alter table seedcore.tasks drop column {column}")
    op.execute(_TASK_STATE)


_TASK_STATE = """
create view seedcore.task_state as
select t.*,
       case when f.id is not null then f.status when x.id is not null then 'failed' when l.id is not null then 'running'
            when h.id is not null then h.status else 'queued' end as status,
       coalesce(f.attempts, x.attempts, l.attempts, h.attempts, d.attempts, g.attempts, r.attempts,
                0::smallint) as attempts,
       coalesce(f.started_at, x.started_at, l.leased_at) as started_at,
       coalesce(f.finished_at, x.finished_at) as finished_at, f.result,
       coalesce(f.error_code, x.error_code) as error_code, coalesce(f.error_message, x.error_message) as error_message,
       x.errors, coalesce(f.decision, x.decision, h.decision) as decision,
       d.run_at, l.token as lease_token, h.plan
from seedcore.tasks t
left join seedcore.finished f on f.id = t.id
left join seedcore.dead x on x.id = t.id
left join seedcore.leases l on l.id = t.id
left join seedcore.held h on h.id = t.id
left join seedcore.deferred d on d.id = t.id
left join seedcore.gated g on g.id = t.id
left join seedcore.ready r on r.id = t.id
"""
