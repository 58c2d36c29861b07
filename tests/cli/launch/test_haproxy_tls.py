"""HAProxy with a certificate, as Serve starts it: TLS alone, and a new certificate without a new process."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from seedcore.cli.launch.haproxy import Certificate, amended
from seedcore.utils.tls import haproxy_watch
from tests.cli.launch.test_haproxy import COMMAND, document, free_ports, written
from tests.support.certificates import Authority, served_serial

Running = tuple[subprocess.Popen[bytes], int, Authority, Path]


@pytest.fixture
def running(starts_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("h")
    authority = Authority(folder / "certs")
    (port,) = free_ports(1)
    log = folder / "log"
    given = {"SEEDCORE_TLS_CERT": str(authority.cert), "SEEDCORE_TLS_KEY": str(authority.key)}
    with log.open("wb") as file:
        env = os.environ | given | {"RAY_SERVE_HAPROXY_BINARY_PATH": str(COMMAND)}
        process = subprocess.Popen([COMMAND, "-db", "-f", written(folder, port)], stderr=file, env=env)
    try:
        end = time.monotonic() + 30
        while not _listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        yield process, port, authority, log
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_it_speaks_tls_alone_with_the_same_answers(running: Running):
    _, port, authority, _ = running
    answer = httpx.get(f"https://127.0.0.1:{port}/away/health", verify=authority.context)
    document(answer, 503, "unavailable")
    document(httpx.get(f"https://127.0.0.1:{port}/-/routes", verify=authority.context), 404, "not_found")
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{port}/away/health")


def test_a_new_certificate_is_shown_by_the_same_process_and_open_connections_go_on(running: Running):
    process, port, authority, log = running
    with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=authority.context) as client:
        # An answer of HAProxy's own that keeps the connection.
        assert client.get("/-/healthz").headers.get("connection") != "close"
        (connection,) = client._transport._pool.connections  # type: ignore[attr-defined]
        old = authority.serial
        assert served_serial(port, authority.context) == old
        authority.renew()
        deadline = time.monotonic() + 30
        while (shown := served_serial(port, authority.context)) != authority.serial:
            assert shown == old
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        client.get("/-/healthz")
        assert client._transport._pool.connections == [connection], "the connection was dropped"  # type: ignore[attr-defined]
    assert process.poll() is None


def test_what_watches_ends_with_haproxy(running: Running):
    process, *_ = running
    (watch,) = psutil.Process(process.pid).children()
    assert haproxy_watch.__file__ in " ".join(watch.cmdline())
    assert watch.memory_info().rss < 25_000_000
    process.kill()
    process.wait()
    end = time.monotonic() + 30
    # Whoever inherits it may leave it a zombie.
    while watch.is_running() and watch.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_half_a_change_is_refused_and_the_old_certificate_stays(running: Running, tmp_path: Path):
    process, port, authority, _ = running
    other = Authority(tmp_path / "other")
    config = psutil.Process(process.pid).cmdline()[3]
    admin, name = str(Path(config).parent / "a"), str(Path(config).parent / "http.pem")
    assert haproxy_watch.replace(admin, name, [authority.cert, other.key])
    assert served_serial(port, authority.context) == authority.serial
    assert haproxy_watch.replace(admin, name, [other.cert, other.key]) == ""
    assert served_serial(port, other.context) == other.serial


def test_without_the_line_that_would_speak_tls_it_does_not_start_as_plain_http(tmp_path: Path):
    with pytest.raises(ValueError, match="no line for HTTP"):
        amended("global\n    maxconn 10\n", tmp_path, Certificate(tmp_path / "c", tmp_path / "k"))
