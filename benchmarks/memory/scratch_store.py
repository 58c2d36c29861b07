"""A memory store on an embedded PostgreSQL of its own, which goes at the end."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from seedcore.llm.embedding.embedder import make_embedder
from seedcore.memory.long_term.store import MemoryStore
from seedcore.settings import load_settings
from seedcore.stores.embedded import embedded_postgres
from seedcore.stores.migrate import migrate
from seedcore.stores.postgres import Database


@asynccontextmanager
async def scratch_store() -> AsyncIterator[tuple[MemoryStore, Database]]:
    folder = Path(tempfile.mkdtemp(prefix="scbm"))
    folder.chmod(0o755)
    settings = load_settings(data_dir=folder / "data")
    server = embedded_postgres(settings)
    server.acquire()
    database = Database(settings, size=4)
    try:
        migrate(settings)
        yield MemoryStore(database, make_embedder(settings)), database
    finally:
        await database.aclose()
        server.release()
        shutil.rmtree(folder, ignore_errors=True)
