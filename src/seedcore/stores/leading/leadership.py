"""Leadership: one process at a time has a role. The role's row in `seedcore.leaders` names it, and says until when.

Parts of statements, because leading is fused with other work into one round trip. The Organism leads by a row of its
own, whose epoch fences what a leader writes (`organism.desired.repository`).
"""

from typing import Literal
from uuid import UUID

import asyncpg

Role = Literal["reaper", "flywheel", "models", "memory", "graph"]

LED_ALWAYS: tuple[Role, ...] = ("models", "reaper")
"""Roles that some process has at any time while SeedCore runs."""

_RESIGN = "delete from seedcore.leaders where role = $1 and owner = $2"


def lead(role: Role, *, renew: bool = True) -> str:
    """An insert that makes `$1` (a UUID) the leader for `$2` seconds when the last leader's time is over.

    It gives a row, for `returning`, when it does. `renew`: also when `$1` leads already. Primary key leaders (role).
    """
    renews = "l.owner = excluded.owner or " if renew else ""
    return f"""
  insert into seedcore.leaders as l (role, owner, expires_at) values ('{role}', $1, now() + make_interval(secs => $2))
  on conflict (role) do update set owner = excluded.owner, expires_at = excluded.expires_at
  where {renews}l.expires_at <= now()"""  # noqa: S608 - a role is a literal


def is_led(role: Role) -> str:
    """A condition: some process leads now."""
    return f"exists (select 1 from seedcore.leaders where role = '{role}' and expires_at > now())"  # noqa: S608


async def led_roles(connection: asyncpg.Connection) -> dict[Role, bool]:
    """Whether some process leads now, for each role of LED_ALWAYS."""
    rows = await connection.fetch("select role from seedcore.leaders where expires_at > now()")
    led = {row["role"] for row in rows}
    return {role: role in led for role in LED_ALWAYS}


async def begin_period(connection: asyncpg.Connection, role: Role, owner: UUID, period_s: float) -> bool:
    """Whether a period of `period_s` seconds is over, and `owner` is the one that begins the next.

    The first call for a role begins its first period and gives False.
    """
    return bool(await connection.fetchval(f"{lead(role, renew=False)} returning xmax <> 0", owner, period_s))


async def resign(connection: asyncpg.Connection, role: Role, owner: UUID) -> None:
    """Let another process lead at once; changes nothing when `owner` does not lead."""
    await connection.execute(_RESIGN, role, owner)
