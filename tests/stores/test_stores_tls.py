"""What the URLs of Redis, MariaDB and Bolt servers demand of TLS is done, and never silently less."""

import asyncio
import os
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from neo4j.exceptions import ServiceUnavailable
from sqlalchemy import text

from seedcore.errors import UnavailableError
from seedcore.memory.flashbulbs.mysql_schema import migrate_mysql
from seedcore.settings import load_settings
from seedcore.stores.mysql import mysql_engine
from seedcore.stores.neo4j import graph_driver
from seedcore.stores.redis import redis_client
from seedcore.utils.tls.contexts import server_context
from tests.memory.flashbulbs.conftest import SERVER, mariadb
from tests.support.certificates import Authority

__all__ = ["mariadb"]
Require = Callable[[bool, str], None]


@pytest.fixture
def authority(starts_server: None, tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certs")


@pytest.fixture
def other(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "other")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str | Path], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 50
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def redis_port(authority: Authority, require_service: Require) -> Iterator[int]:
    require_service(shutil.which("redis-server") is not None, "redis-server")
    port = _free_port()
    options = ["--tls-cert-file", authority.cert, "--tls-key-file", authority.key, "--tls-ca-cert-file", authority.ca]
    command = ["redis-server", "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with running([*command, *options, "--tls-auth-clients", "no"], port):
        yield port


async def ping(url: str) -> bool:
    client = redis_client(load_settings(redis_url=url))
    try:
        return bool(await client.ping())
    finally:
        await client.aclose()


def test_rediss_is_tls_with_a_certificate_that_is_believed(redis_port: int, authority: Authority, other: Authority):
    assert asyncio.run(ping(f"rediss://127.0.0.1:{redis_port}?ssl_ca_certs={authority.ca}"))
    for url in (
        f"rediss://127.0.0.1:{redis_port}?ssl_ca_certs={other.ca}",
        f"rediss://127.0.0.1:{redis_port}",
    ):
        with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
            asyncio.run(ping(url))
    with pytest.raises(Exception, match=r"(?i)closed|reset|protocol"):
        asyncio.run(ping(f"redis://127.0.0.1:{redis_port}"))


@pytest.fixture
def mariadb_tls(authority: Authority, require_service: Require) -> Iterator[str]:
    require_service(SERVER is not None, "mariadbd")
    folder = Path("/tmp") / f"sct{uuid.uuid4().hex[:8]}"
    folder.mkdir(mode=0o755)
    as_user = ["--user=root"] if os.geteuid() == 0 else []
    install = ["mariadb-install-db", "--no-defaults", f"--datadir={folder}/data", *as_user]
    subprocess.run([*install, "--auth-root-authentication-method=normal"], check=True, capture_output=True, timeout=50)
    port = _free_port()
    command: list[str | Path] = [str(SERVER), "--no-defaults", f"--datadir={folder}/data", f"--socket={folder}/s"]
    command += [f"--port={port}", "--bind-address=127.0.0.1", "--innodb-buffer-pool-size=16M", *as_user]
    command += [f"--ssl-cert={authority.cert}", f"--ssl-key={authority.key}", "--require-secure-transport=ON"]
    with running(command, port):
        client = ["mariadb", "--no-defaults", f"--socket={folder}/s", "-uroot", "-e"]
        grant = "CREATE DATABASE seedcore; GRANT ALL ON *.* TO seed@'127.0.0.1' IDENTIFIED BY 'hunter2'"
        subprocess.run([*client, grant], check=True, capture_output=True, timeout=30)
        yield f"mysql+mysqlconnector://seed:hunter2@127.0.0.1:{port}/seedcore"
    shutil.rmtree(folder, ignore_errors=True)


def cipher(dsn: str) -> str:
    engine = mysql_engine(load_settings(mysql_dsn=dsn))
    try:
        with engine.connect() as connection:
            return str(connection.execute(text("show session status like 'Ssl_cipher'")).one()[1])
    finally:
        engine.dispose()


def test_mysql_over_tls_holds_the_certificate_against_what_the_dsn_names(
    mariadb_tls: str, authority: Authority, other: Authority
):
    assert cipher(f"{mariadb_tls}?ssl_ca={authority.ca}")
    assert cipher(f"{mariadb_tls}?ssl_ca={authority.ca}&ssl_verify_identity=true")
    for query in (f"ssl_ca={other.ca}", f"ssl_ca={other.ca}&ssl_verify_identity=true"):
        with pytest.raises(Exception, match=r"(?i)certificate|ssl"):
            cipher(f"{mariadb_tls}?{query}")
    with pytest.raises(Exception, match=r"(?i)insecure transport|access denied"):
        cipher(f"{mariadb_tls}?ssl_disabled=true")


@pytest.mark.integration
def test_a_dsn_that_demands_tls_is_not_content_with_a_plain_server(mariadb: str, authority: Authority):
    assert cipher(f"{mariadb}/seedcore") == ""
    for query in (f"ssl_ca={authority.ca}", "ssl_verify_identity=true", "ssl_cipher=HIGH"):
        with pytest.raises(Exception, match=r"(?i)ssl|tls"):
            cipher(f"{mariadb}/seedcore?{query}")

    with pytest.raises(UnavailableError):
        migrate_mysql(load_settings(mysql_dsn=f"{mariadb}/seedcore?ssl_ca={authority.ca}"))


BOLT_GREETING = bytes.fromhex("6060b017")


@pytest.fixture
def bolt_listener(authority: Authority) -> Iterator[tuple[int, list[bytes]]]:
    """The port of a TLS server, and what it was told first in each connection: no Bolt server here speaks TLS."""
    heard: list[bytes] = []
    context = server_context(authority.cert, authority.key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            with plain:
                plain.settimeout(10)
                try:
                    with context.wrap_socket(plain, server_side=True) as connection:
                        heard.append(connection.recv(4))
                except OSError:
                    heard.append(b"")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1], heard
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


@pytest.mark.parametrize("scheme", ["bolt+s", "neo4j+s"])
def test_bolt_with_s_says_nothing_before_it_believes_the_certificate(
    scheme: str, bolt_listener: tuple[int, list[bytes]], authority: Authority, monkeypatch: pytest.MonkeyPatch
):
    port, heard = bolt_listener

    async def connect() -> None:
        settings = load_settings(neo4j_uri=f"{scheme}://127.0.0.1:{port}", neo4j_password="hunter2")
        async with graph_driver(settings) as driver:
            await driver.verify_connectivity()

    with pytest.raises(ServiceUnavailable):
        asyncio.run(connect())
    assert set(heard) == {b""}
    # What the system trusts: the way to an authority of one's own.
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    heard.clear()
    with pytest.raises(ServiceUnavailable):
        asyncio.run(connect())
    assert set(heard) == {BOLT_GREETING}
