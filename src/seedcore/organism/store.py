"""What the organism keeps in PostgreSQL: the desired organs."""

import json
from typing import Any

from seedcore.stores.postgres import Database, loads

_SAVE_ORGANS = """
insert into seedcore.organs (id, spec) select * from unnest($1::text[], $2::jsonb[])
on conflict (id) do update set spec = excluded.spec, updated = now()
"""
_DROP_ORGANS = "delete from seedcore.organs where not (id = any($1::text[]))"
_ORGANS = "select id, spec from seedcore.organs order by id"


class OrganStore:
    """The desired organs: what the reconcile loop makes so, also after a restart."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, specs: dict[str, dict[str, Any]]) -> None:
        """Make `specs` the desired organs; others are dropped."""
        async with self._database.transaction() as connection:
            await connection.execute(_DROP_ORGANS, list(specs))
            await connection.execute(_SAVE_ORGANS, list(specs), [json.dumps(spec) for spec in specs.values()])

    async def load(self) -> dict[str, dict[str, Any]]:
        """The desired organs; empty when the organism was never initialized."""
        async with self._database.connection() as connection:
            return {row["id"]: loads(row["spec"]) for row in await connection.fetch(_ORGANS)}
