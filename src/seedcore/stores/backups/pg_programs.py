"""PostgreSQL's own programs: which one fits a server, and the environment that it connects by."""

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from seedcore.errors import UnavailableError

if TYPE_CHECKING:
    from psycopg import Connection


def environment_of(connection: "Connection[tuple[object, ...]]") -> dict[str, str]:
    """What PostgreSQL's programs connect by. The password is there, since every user can see arguments."""
    given = connection.info.get_parameters() | {"password": connection.info.password}
    if connection.pgconn.ssl_in_use and given.get("sslmode", "prefer") in ("allow", "prefer"):
        # They must not be content with less than this connection has.
        given["sslmode"] = "require"
    names = {"host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    names |= {"password": "PGPASSWORD", "options": "PGOPTIONS", "channel_binding": "PGCHANNELBINDING"}
    names |= {f"ssl{what}": f"PGSSL{what.upper()}" for what in ("mode", "rootcert", "cert", "key", "crl", "crldir")}
    names |= {f"ssl_{end}_protocol_version": f"PGSSL{end.upper()}PROTOCOLVERSION" for end in ("min", "max")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return environment | {names[key]: str(value) for key, value in given.items() if key in names and value}


def program_for(tool: str, connection: "Connection[tuple[object, ...]]") -> str:
    """The embedded server's own, or the system's where the server is newer, or speaks TLS, which the own ones cannot.

    Raises:
        UnavailableError: the system's is missing or older than the server.
    """
    from seedcore.stores.embedded import postgres_programs
    from seedcore.stores.embedded.postgres_server import MAJOR

    server, tls = connection.info.server_version // 10000, bool(connection.pgconn.ssl_in_use)
    if server <= MAJOR and not tls:
        return str(postgres_programs() / tool)
    found = shutil.which(tool)
    if found is not None and _major(found) >= server:
        return found
    why = "The connection is over TLS" if tls else f"The server is a PostgreSQL {server}"
    raise UnavailableError(
        f"{why}, which SeedCore's own {tool} cannot do: install PostgreSQL's client programs, major {server} or newer, "
        "so that they are found in PATH."
    )


def _major(program: str) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\) (\d+)", said)
    return int(found[1]) if found else 0
