"""Reads the rates that agents have learned, from the rows that their hosts write."""

from collections.abc import Sequence

from seedcore.pricing.rates import RateEstimate
from seedcore.stores.postgres import Database, loads

# Primary key agents (id).
_RATES = "select id, rates from seedcore.agents where id = any($1::text[]) and rates <> '{}'"
MAX_AGENTS = 2000


async def rates_of(database: Database, agents: Sequence[str]) -> dict[str, dict[str, RateEstimate]]:
    """Rates by agent and type, of those of at most MAX_AGENTS `agents` that have learned any."""
    async with database.connection() as connection:
        rows = await connection.fetch(_RATES, list(agents))
    return {
        row["id"]: {task_type: RateEstimate(**values) for task_type, values in loads(row["rates"]).items()}
        for row in rows
    }
