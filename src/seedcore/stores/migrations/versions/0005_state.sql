-- The transaction that wrote an agent last: readers ask for what their last snapshot did not know. Transactions commit in
-- another order than `seq` is drawn in, so that one cannot tell them.
alter table seedcore.agents add column change xid8 not null default pg_current_xact_id();
create index agents_change on seedcore.agents (change);

-- Whoever updates an agent without naming its change (hosts of the release before) changes it all the same.
create function seedcore.agent_changed() returns trigger language plpgsql as $$
begin
  new.change := pg_current_xact_id();
  return new;
end $$;
create trigger agents_changed before update on seedcore.agents for each row
  when (new.change is not distinct from old.change) execute function seedcore.agent_changed();

-- The past, for plots: one sample of the whole for each moment, and one of each organ beside it.
create table seedcore.samples (
  at          timestamptz primary key,
  agents      integer not null,
  running     integer not null,
  queued_s    double precision not null,
  completed   bigint not null,
  failed      bigint not null,
  ready       integer not null,
  deferred    integer not null,
  gated       integer not null,
  leased      integer not null,
  waiting     integer not null,
  approval    integer not null,
  dispatchers integer not null
);
create table seedcore.organ_samples (
  organ     text not null,
  at        timestamptz not null,
  agents    integer not null,
  running   integer not null,
  queued_s  double precision not null,
  completed bigint not null,
  failed    bigint not null,
  primary key (organ, at)
);
create index organ_samples_at on seedcore.organ_samples (at);
