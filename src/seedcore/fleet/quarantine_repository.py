"""Skills that end their processes: the tables `skill_deaths` (what ran when a process ended) and `quarantined_skills`
(what runs in a host of its own, one task at a time, until its time is over or a person releases it)."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

WINDOW_S = 60.0
"""Deaths within this many seconds count together."""

KEPT_S = 86_400.0
"""Rows of `skill_deaths` that are older than this are deleted: nothing counts them any more."""

# Two hosts that report at the same moment would each miss the other's rows.
_ONE_BY_ONE = "lock table seedcore.skill_deaths in share row exclusive mode"

# Index skill_deaths_skill is by skill; there are few rows.
_EXPIRE = "delete from seedcore.skill_deaths where at < now() - make_interval(secs => $1)"

# Primary key skill_deaths (task_id, token).
_NOTE = """
insert into seedcore.skill_deaths (skill, host, task_id, token)
select skill, $1, task_id, token from unnest($2::text[], $3::uuid[], $4::bigint[]) s(skill, task_id, token)
on conflict (task_id, token) do nothing returning skill
"""

# Index skill_deaths_skill. What one process reports has one moment: each process that ended counts once.
_QUARANTINE = """
with counted as (
  select d.skill, count(distinct (d.host, d.at))::int as deaths, array_agg(distinct d.host) as hosts
  from seedcore.skill_deaths d
  where d.skill = any($1::text[]) and d.at > now() - make_interval(secs => $3) group by d.skill)
, caught as (
  select c.*, coalesce(q.until > now(), false) as earlier
  from counted c left join seedcore.quarantined_skills q on q.skill = c.skill
  where c.deaths >= $2 or q.until > now())
, kept as (
  insert into seedcore.quarantined_skills as q (skill, until, deaths, reason)
  select skill, now() + make_interval(secs => $4), deaths,
         format('it was running each time when %s of %s ended, within %s s', case deaths when 1 then 'a process'
                else deaths || ' processes' end, array_to_string(hosts[:5], ', '), $3) from caught
  on conflict (skill) do update set until = excluded.until,
    since = case when q.until > now() then q.since else excluded.since end,
    deaths = case when q.until > now() then q.deaths + 1 else excluded.deaths end,
    reason = case when q.until > now() then q.reason else excluded.reason end
  returning q.skill, q.since, q.until, q.deaths, q.reason)
select k.* from kept k join caught c using (skill) where not c.earlier order by k.skill
"""

# All of `quarantined_skills`: a row for each skill that ends processes.
_ACTIVE = (
    "select skill, since, until, deaths, reason from seedcore.quarantined_skills where until > now() order by skill"
)
_OVER = "delete from seedcore.quarantined_skills where until <= now() - make_interval(secs => $1)"

_RELEASE = "delete from seedcore.quarantined_skills where skill = $1 returning until > now()"
_FORGIVE = "delete from seedcore.skill_deaths where skill = $1"


class QuarantinedSkill(NamedTuple):
    """A skill that runs in a host of its own.

    Attributes:
        skill: its name.
        since: when it was quarantined.
        until: when that ends by itself.
        deaths: processes that ended while it was running, until now.
        reason: for people.
    """

    skill: str
    since: datetime
    until: datetime
    deaths: int
    reason: str


async def record_deaths(
    connection: asyncpg.Connection,
    host: str,
    seen: Sequence[tuple[str, UUID, int]],
    *,
    poison_after: int,
    window_s: float = WINDOW_S,
    release_s: float,
) -> list[QuarantinedSkill]:
    """Note what was running when a process ended, and quarantine what ran too often; reported twice, it counts once.

    A skill that ends its process although it is quarantined stays so for another `release_s`.

    Args:
        connection: where; this is one transaction.
        host: the name of the host or worker whose process ended.
        seen: (skill, task id, fencing token) of each call that was running.
        poison_after: processes that a skill may end within `window_s` before it is quarantined.
        window_s: see `poison_after`, in seconds.
        release_s: seconds that the quarantine lasts.

    Returns:
        The skills that are quarantined from now on and were not before.
    """
    # However many calls of a skill were running, it was one death.
    one_each = {skill: (task_id, token) for skill, task_id, token in sorted(seen, key=lambda s: -s[2])}
    if not one_each:
        return []
    tasks, tokens = zip(*one_each.values(), strict=True)
    async with connection.transaction():
        await connection.execute(_ONE_BY_ONE)
        await connection.execute(_EXPIRE, max(KEPT_S, window_s))
        await connection.execute(_OVER, KEPT_S)
        noted = [row["skill"] for row in await connection.fetch(_NOTE, host, list(one_each), tasks, tokens)]
        if not noted:
            return []
        rows = await connection.fetch(_QUARANTINE, noted, poison_after, window_s, release_s)
    return [QuarantinedSkill(*row) for row in rows]


async def active(connection: asyncpg.Connection) -> list[QuarantinedSkill]:
    """The skills that are quarantined now, by name."""
    return [QuarantinedSkill(*row) for row in await connection.fetch(_ACTIVE)]


async def release(connection: asyncpg.Connection, skill: str) -> bool:
    """End a skill's quarantine, and forget its deaths; True when it was quarantined."""
    async with connection.transaction():
        await connection.execute(_FORGIVE, skill)
        return bool(await connection.fetchval(_RELEASE, skill))
