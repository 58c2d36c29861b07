"""Embedded servers: PostgreSQL, a Bolt server for the knowledge graph, and llama.cpp's for a language model.

Each has one owner, a small supervisor process under a lock in the data directory (`supervisor.py`). It starts the
server, restarts it when it dies, and stops it when the last process that holds a lease has gone (`server_lease.py`).
The kernel drops the lock of a process that dies, however it dies, so a lease cannot outlive its holder.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seedcore.settings import Settings
    from seedcore.stores.embedded.embedded_server import EmbeddedServer


def embedded_postgres(settings: "Settings") -> "EmbeddedServer":
    """The embedded PostgreSQL of this data directory: one object a process."""
    from seedcore.stores.embedded.embedded_server import embedded_server

    return embedded_server("postgres", settings)


def embedded_bolt(settings: "Settings") -> "EmbeddedServer":
    """The embedded Bolt server of this data directory: one object a process."""
    from seedcore.stores.embedded.embedded_server import embedded_server

    return embedded_server("bolt", settings)


def embedded_llama(settings: "Settings") -> "EmbeddedServer":
    """The embedded language model of this data directory: one object a process."""
    from seedcore.stores.embedded.embedded_server import embedded_server

    return embedded_server("llama", settings)


def postgres_programs() -> Path:
    """Folder of the wheel's programs: pg_dump, pg_restore, psql."""
    from seedcore.stores.embedded.embedded_server import package_dir
    from seedcore.stores.embedded.postgres_server import MAJOR

    return package_dir("postgres") / f"pginstall{MAJOR}" / "bin"
