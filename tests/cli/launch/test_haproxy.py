"""HAProxy with the configuration that the installed Ray writes, amended: what it answers by itself."""

import json
import os
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig

from seedcore.cli.launch.haproxy import amended

COMMAND = Path(sysconfig.get_path("scripts")) / "seedcore-haproxy"


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


def written(folder: Path, port: int) -> Path:
    """Ray's configuration of a head with one application, whose replica is away."""
    metrics, stats, away = free_ports(3)
    path = folder / "haproxy.cfg"
    backends = {"away": BackendConfig("away", "/away", servers=[ServerConfig("away-0", "127.0.0.1", away)])}
    config = HAProxyConfig(
        socket_path=str(folder / "a"), server_state_base=str(folder), server_state_file=str(folder / "state"),
        metrics_port=metrics, stats_port=stats, metrics_enabled=False, is_head=True, nbthread=1,
    )  # fmt: skip
    config.http_options.host, config.http_options.port = "127.0.0.1", port
    HAProxyApi(config, backends, str(path))._generate_config_file_internal()
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("h")


@pytest.fixture(scope="module")
def port(starts_server: None, folder: Path) -> Iterator[int]:
    (port,) = free_ports(1)
    log = folder / "log"
    with log.open("wb") as file:
        # As Serve starts it.
        env = os.environ | {"RAY_SERVE_HAPROXY_BINARY_PATH": str(COMMAND)}
        running = subprocess.Popen([COMMAND, "-db", "-f", written(folder, port)], stderr=file, env=env)
    try:
        end = time.monotonic() + 30
        while not _listens(port):
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        yield port
    finally:
        running.kill()
        running.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def document(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json()["status"], answer.json()["code"]) == (status, code)


def test_a_service_that_is_away_is_503_with_a_problem_document(port: int):
    answer = httpx.get(f"http://127.0.0.1:{port}/away/health")
    document(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "1"


def test_a_path_without_an_application_is_503_with_a_problem_document(port: int):
    answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/tasks")
    document(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("path", ["/-/routes", "/-/ROUTES", "/-/routes?x=1"])
def test_routes_are_not_served(port: int, path: str):
    document(httpx.get(f"http://127.0.0.1:{port}{path}"), 404, "not_found")


def test_a_request_that_comes_too_slowly_or_breaks_has_a_document_ready(port: int, folder: Path):
    """HAProxy keeps one file for each status that it may answer by itself."""
    for status, code in {408: "request_timeout", 502: "bad_gateway", 504: "deadline_exceeded"}.items():
        head, _, body = (folder / f"problem-{status}.http").read_bytes().partition(b"\r\n\r\n")
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        assert f"Content-Length: {len(body)}".encode() in head
        assert json.loads(body)["code"] == code
        assert f"errorfile {status} {folder}" in (folder / "haproxy-amended.cfg").read_text()


def test_docs_say_truly_that_bytes_that_are_no_http_are_answered_in_html(port: int):
    """HAProxy's parser has this text built in, and no file replaces it; see docs/security.md."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nno header\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"text/html" in answer


def test_docs_say_truly_that_the_probe_of_operators_needs_no_key_and_names_nothing(port: int):
    """KubeRay and the container's health check ask it without a key; see docs/security.md."""
    answer = httpx.get(f"http://127.0.0.1:{port}/-/healthz")
    assert answer.text in {"success", "Service Unavailable", "Route table is not populated yet."}


def test_a_configuration_of_another_form_stays_as_it_is(tmp_path: Path):
    assert amended("global\n    maxconn 10\n", tmp_path) == "global\n    maxconn 10\n"


def test_a_service_is_told_last_where_a_request_came_from(port: int, folder: Path):
    config = (folder / "haproxy-amended.cfg").read_text()
    frontend = config.split("frontend http_frontend\n", 1)[1].split("\n\n", 1)[0]
    assert "    option forwardfor\n" in frontend
