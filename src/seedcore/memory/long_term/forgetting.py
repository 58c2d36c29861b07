"""Forgets what fades: by salience, by the time since it was last of use, and by how much is kept."""

from dataclasses import dataclass

from seedcore.settings import Settings
from seedcore.stores.postgres import Database

FADED = 0.05
"""Strength below which a memory is forgotten."""
SAFE_S = 86_400
"""What was remembered, seen or found within this time is not forgotten because it has faded."""
PAGE = 2_000

# Salience, halved for every half-life without use; what was seen or found often fades more slowly. $1: days.
_STRENGTH = """
(m.salience * power(0.5, extract(epoch from now() - m.used_at)::float8 / (86400 * $1 * (1 + ln(m.seen + m.uses)))))
"""
# A scan of the table, a page at a time; what facts say goes with the facts.
_FORGET_FADED = f"""
with gone as (
  delete from seedcore.memories where id in (
    select m.id from seedcore.memories m
    where m.source <> 'fact' and m.used_at < now() - interval '{SAFE_S} s' and {_STRENGTH} < {FADED} limit {PAGE})
  returning 1)
select count(*) from gone
"""  # noqa: S608 - constants
_OVER = "select tenant, count(*) - $1 as over from seedcore.memories group by tenant having count(*) > $1"
_FORGET_WEAKEST = f"""
with gone as (
  delete from seedcore.memories where id in (
    select m.id from seedcore.memories m where m.tenant = $2 order by {_STRENGTH}, m.id limit $3) returning 1)
select count(*) from gone
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many memories were forgotten: because they had faded, and because there were too many."""

    faded: int
    over: int


class Forgetting:
    """Forgets; two that do so at once forget the same."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._half_life_d, self._max_items = settings.memory_half_life_d, settings.memory_max_items

    async def run(self) -> Forgotten:
        """Forget what has faded, and of each tenant what is more than the bound."""
        faded = await self._pages()
        over = 0
        async with self._database.connection() as connection:
            too_many = await connection.fetch(_OVER, self._max_items)
        for row in too_many:
            left = row["over"]
            while left > 0:
                async with self._database.connection() as connection:
                    gone = await connection.fetchval(_FORGET_WEAKEST, self._half_life_d, row["tenant"], min(left, PAGE))
                over, left = over + gone, left - gone
                if not gone:
                    break
        return Forgotten(faded, over)

    async def _pages(self) -> int:
        total = 0
        while True:
            async with self._database.connection() as connection:
                gone = int(await connection.fetchval(_FORGET_FADED, self._half_life_d))
            total += gone
            if gone < PAGE:
                return total
