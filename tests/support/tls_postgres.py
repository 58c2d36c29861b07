"""A real PostgreSQL that takes connections over TLS alone: Debian's, since the embedded one is built without it."""

import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.certificates import Authority

INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@dataclass(frozen=True, slots=True)
class TlsPostgres:
    """A running server."""

    port: int
    password: str
    authority: Authority

    def dsn(self, **options: str) -> str:
        """Its DSN, with these options, such as `sslmode`; `host` is 127.0.0.1 unless it is one of them."""
        host = options.pop("host", "127.0.0.1")
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"postgresql://owner:{self.password}@{host}:{self.port}/postgres?{query}"


@contextmanager
def tls_postgres() -> Iterator[TlsPostgres]:
    """Start one, and stop it whatever happens."""
    programs = INSTALLED[-1]
    folder = Path(tempfile.mkdtemp(prefix="scpt"))
    authority = Authority(folder / "certs")
    folder.chmod(0o755)
    authority.folder.chmod(0o755)
    # As the server's user, which must own its key.
    server = folder / "server"
    server.mkdir()
    password = secrets.token_hex(8)
    for name, text in {
        "password": password,
        "tls.key": authority.key.read_text(),
        "tls.crt": authority.cert.read_text(),
        "hba": "local all all trust\nhostssl all all 127.0.0.0/8 scram-sha-256\n",
    }.items():
        (server / name).write_text(text)
        (server / name).chmod(0o600)
    run: dict[str, Any] = {"cwd": server, "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}}
    if Path("/proc/self").stat().st_uid == 0:
        run["user"] = "nobody"
        for path in (server, *server.iterdir()):
            shutil.chown(path, "nobody")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    initdb = [programs / "initdb", "-D", server / "data", "-U", "owner", "--pwfile", server / "password", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True, timeout=60, **run)
    options = [
        f"-cport={port}",
        "-clisten_addresses=127.0.0.1,127.0.0.2",
        f"-cunix_socket_directories={server}",
        "-cfsync=off",
    ]
    options += ["-cssl=on", f"-cssl_cert_file={server / 'tls.crt'}", f"-cssl_key_file={server / 'tls.key'}"]
    options += [f"-chba_file={server / 'hba'}"]
    process = subprocess.Popen(
        [programs / "postgres", "-D", server / "data", *options], stderr=subprocess.DEVNULL, **run
    )
    try:
        end = time.monotonic() + 30
        ready = [programs / "pg_isready", "-h", server, "-p", str(port)]
        while subprocess.run(ready, capture_output=True, timeout=10, check=False).returncode != 0:
            assert process.poll() is None, "the server has ended"
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.05)
        yield TlsPostgres(port, password, authority)
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)
