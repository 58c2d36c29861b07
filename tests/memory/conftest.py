"""Long-term memory on a database of its own."""

from collections.abc import AsyncIterator

import pytest

from seedcore.llm.embedding.embedder import make_embedder
from seedcore.memory.long_term.store import MemoryStore
from seedcore.settings import Settings
from seedcore.stores.postgres import Database


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    database = Database(pg_settings)
    yield database
    await database.aclose()


@pytest.fixture
def store(database: Database) -> MemoryStore:
    return MemoryStore(database, make_embedder(database.settings))
