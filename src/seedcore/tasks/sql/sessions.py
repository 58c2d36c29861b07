"""Sessions of dispatchers: open, heartbeat, close."""

from seedcore.stores.leading.leadership import is_led

# A restarted actor's earlier session is over: its leases are reaped now, not after their time.
OPEN_SESSION = """
with before as (update seedcore.sessions set expires_at = now() where actor = $5 and id <> $1)
insert into seedcore.sessions (id, name, queue, expires_at, actor, schema_version)
values ($1, $2, $3, now() + make_interval(secs => $4), $5, $6)
on conflict (id) do update set expires_at = excluded.expires_at
"""

# One heartbeat a dispatcher; late but not yet reaped is in time. No `alive` row: the session was reaped, its leases are
# lost. The other rows are all leases of the session (index leases_owner) when $5 asks for them; `settled`: old enough
# that its claim must have been answered. `reaped` is false when no reaper has led for a while.
HEARTBEAT = f"""
with beat as (
  update seedcore.sessions set expires_at = now() + make_interval(secs => $2), holding = $3,
         beat_at = case when $6 then now() else beat_at end,
         last_claim = case when $4 then now() else last_claim end
  where id = $1 returning id)
select id, null::bigint as token, {is_led("reaper")} as settled from beat
union all
select id, token, leased_at < now() - interval '5 seconds' from seedcore.leases where owner = $1 and $5
"""

CLOSE_SESSION = "delete from seedcore.sessions where id = $1"
