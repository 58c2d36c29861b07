"""Checks what long-term memory needs of the database."""

from seedcore.memory.long_term.pgvector_state import PgvectorState, pgvector_state
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.telemetry.logs import get_logger


async def bootstrap_memory(settings: Settings) -> PgvectorState:
    """Say which pgvector there is. Without 0.8 or newer SeedCore starts, and memory is searched by words alone."""
    database = Database(settings, size=1, name="seedcore-bootstrap")
    try:
        state = await pgvector_state(database)
    finally:
        await database.aclose()
    log = get_logger("bootstraps")
    if state.fallback is None:
        log.info("pgvector is there", version=state.version)
    else:
        log.warning("memory is searched by words alone", reason=state.reason, fallback=state.fallback)
    return state
