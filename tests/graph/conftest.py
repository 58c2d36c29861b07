import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from seedcore.graph.graph_sync import GraphSync
from seedcore.graph.repository import GraphStore
from seedcore.settings import Settings, load_settings
from seedcore.stores.embedded import embedded_bolt
from seedcore.stores.postgres import Database


@pytest.fixture(scope="session")
def bolt_folder(starts_server: None) -> Iterator[Path]:
    """The data directory of one embedded Bolt server for the session."""
    folder = Path(tempfile.mkdtemp(prefix="scg"))
    server = embedded_bolt(load_settings(data_dir=folder / "data"))
    server.acquire()
    yield folder / "data"
    os.kill(server.status()["supervisor_pid"], signal.SIGTERM)
    server.release()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def graph_settings(bolt_folder: Path, pg_dsn: str) -> Settings:
    """A fresh database and an empty graph."""
    settings = load_settings(data_dir=bolt_folder, pg_dsn=pg_dsn)
    store = GraphStore(settings)
    await store.read("MATCH (n:Entity) DETACH DELETE n RETURN count(n) AS gone")
    await store.close()
    return settings


@pytest.fixture
async def database(graph_settings: Settings) -> AsyncIterator[Database]:
    database = Database(graph_settings, size=2)
    yield database
    await database.aclose()


@pytest.fixture
async def sync(graph_settings: Settings) -> AsyncIterator[GraphSync]:
    """The sync; tests make its rounds."""
    sync = GraphSync(graph_settings, Database(graph_settings, size=2))
    yield sync
    await sync.stop()
