"""The embedded Bolt server: prepares, starts and stops ArcadeDB of `arcadedb-embedded` in a JVM with a capped heap.

It listens on free loopback ports, and keeps the port over restarts while it can, so that drivers reconnect.
"""

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

from seedcore.errors import UnavailableError
from seedcore.stores.embedded.lock_files import ServerAddress, ServerFiles
from seedcore.stores.embedded.os_processes import (
    Account,
    alive,
    command_line,
    find_all,
    free_port,
    kill_all,
    send,
    wait_until,
)

DATABASE = "seedcore"
USER = "root"
HOST = "127.0.0.1"
PASSWORD_BYTES = 24

# The heap has its own limit; these bound the rest. One simple compiler and collector suit a small server.
JVM_FLAGS = (
    "-Xms16m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:MaxMetaspaceSize=160m",
    "-XX:MaxDirectMemorySize=64m",
    "-XX:ReservedCodeCacheSize=64m",
    "-Xss512k",
    # The supervisor restarts it, which is better than a server that has lost some of its threads.
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Dfile.encoding=UTF8",
    "--add-modules=jdk.incubator.vector",
    "--enable-native-access=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED",
    "--add-opens=java.base/java.nio.channels.spi=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
)

# Standard error only, which the supervisor's log file takes and bounds; ArcadeDB's default writes files of its own.
LOGGING = """\
handlers=java.util.logging.ConsoleHandler
.level=WARNING
java.util.logging.ConsoleHandler.level=INFO
"""


def password_file(data_dir: Path) -> Path:
    """Where the generated password is kept, readable for its owner only."""
    return data_dir / "bolt" / "password"


class BoltServer:
    """ArcadeDB in `<data_dir>/bolt`, as the supervisor handles it."""

    # A JVM that cannot bind its port may go on without it, so it gets a limit; PostgreSQL's recovery has none.
    start_timeout_s = 60.0

    def __init__(self, files: ServerFiles, heap_mb: int, package_dir: Path) -> None:
        self._home = files.data_dir.resolve() / "bolt"
        self._password = password_file(files.data_dir.resolve())
        self._java = package_dir / "jre" / "bin" / "java"
        self._jars = package_dir / "jars"
        self._heap_mb = heap_mb
        self._account = Account(os.geteuid(), os.getegid())
        self._port = 0
        self._http_port = 0

    def prepare(self) -> None:
        """Make the folder and, once, the password."""
        self._home.mkdir(mode=0o700, exist_ok=True)
        if not self._password.exists():
            # A list of users without the password that belongs to it is of no use: the server makes a new one.
            (self._home / "config" / "server-users.jsonl").unlink(missing_ok=True)
            draft = self._password.with_suffix(".new")
            draft.unlink(missing_ok=True)
            draft.touch(mode=0o600, exist_ok=False)
            draft.write_text(os.urandom(PASSWORD_BYTES).hex())
            draft.replace(self._password)
        (self._home / "logging.properties").write_text(LOGGING)

    def find(self) -> int | None:
        """The pid of the JVM of this data directory."""
        for pid in find_all(os.geteuid(), self._is_ours):
            ports = re.findall(r"(bolt\.port|httpIncomingPort)=(\d+)", " ".join(command_line(pid)))
            if len(ports) == 2:
                numbers = dict(ports)
                self._port, self._http_port = int(numbers["bolt.port"]), int(numbers["httpIncomingPort"])
                return pid
        return None

    def clear(self) -> None:
        """End a JVM that hangs."""
        if not kill_all(os.geteuid(), self._is_ours):
            raise UnavailableError(f"An earlier Bolt server in {self._home} does not end when killed.")

    def start(self, lock_fd: int, log_fd: int) -> "subprocess.Popen[bytes]":
        """Start the JVM."""
        self._port = free_port(HOST, self._port)
        self._http_port = free_port(HOST)
        properties = {
            "java.util.logging.config.file": self._home / "logging.properties",
            "arcadedb.server.rootPath": self._home,
            "arcadedb.server.logsDirectory": self._home / "log",
            "arcadedb.server.rootPasswordPath": self._password,
            # Hides details of errors from clients, and turns file access from Cypher off.
            "arcadedb.server.mode": "production",
            "arcadedb.server.httpIncomingHost": HOST,
            "arcadedb.server.httpIncomingPort": self._http_port,
            "arcadedb.server.plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
            "arcadedb.server.defaultDatabases": f"{DATABASE}[{USER}]",
            "arcadedb.bolt.host": HOST,
            "arcadedb.bolt.port": self._port,
            "arcadedb.bolt.defaultDatabase": DATABASE,
            "arcadedb.profile": "low-ram",
        }
        return self._account.popen(
            [
                self._java,
                f"-Xmx{self._heap_mb}m",
                *JVM_FLAGS,
                *(f"-D{key}={value}" for key, value in properties.items()),
                *("-cp", f"{self._jars}/*", "com.arcadedb.server.ArcadeDBServer"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log_fd,
            stderr=log_fd,
            pass_fds=[lock_fd],
            start_new_session=True,
        )

    def ready(self, pid: int) -> ServerAddress | None:
        """Where to connect. The Bolt port answers before the database is there, so the server itself is asked."""
        try:
            with socket.create_connection((HOST, self._http_port), timeout=2) as connection:
                connection.sendall(b"GET /api/v1/ready HTTP/1.0\r\n\r\n")
                if b" 204 " not in connection.recv(64):
                    return None
        except OSError:
            return None
        jars = [path.stem.rpartition("-")[2] for path in self._jars.glob("arcadedb-server-*.jar")]
        version = jars[0] if jars else "of unknown version"
        return {
            "uri": f"bolt://{HOST}:{self._port}",
            "socket": [HOST, self._port],
            "version": f"ArcadeDB {version}",
            "major": int(version.partition(".")[0]) if jars else 0,
        }

    def intact(self) -> bool:
        """True: no other process can take its ports."""
        return True

    def stop(self, pid: int) -> None:
        """Let it close its database, then by force."""
        send(pid, signal.SIGTERM)
        wait_until(lambda: not alive(pid), timeout_s=20)
        self.clear()

    def _is_ours(self, argv: list[str]) -> bool:
        return f"-Darcadedb.server.rootPath={self._home}" in argv
