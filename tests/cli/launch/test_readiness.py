"""What the launcher knows of the applications while they start."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from seedcore.cli.launch.readiness import deployment_failure, probe, waiting_for
from seedcore.cli.launch.serve_config import Application


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = 200 if self.path == "/ml/health" else 503
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps({"status": "unavailable", "missing": ["utility"]}).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url(starts_server: None) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_only_those_that_are_not_healthy_are_waited_for(url: str) -> None:
    missing = waiting_for(url, [Application("ml_service", "/ml"), Application("organism", "/organism")])
    assert list(missing) == ["organism"]
    assert "503" in missing["organism"]
    assert "utility" in missing["organism"]


@pytest.mark.integration
def test_nobody_listening_is_a_reason_not_an_error() -> None:
    assert "does not answer" in str(probe("http://127.0.0.1:1/health"))


def test_a_proxy_in_the_environment_is_not_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert probe(f"{url}/ml/health") is None


def test_an_application_that_serve_gave_up_is_found_in_its_log(tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    log.write_text("INFO Importing application 'ml_service'\n")
    assert deployment_failure(log) is None
    log.write_text("WARNING Deploying app 'ml_service' failed with exception:\nModuleNotFoundError: acme\n")
    assert deployment_failure(log) == "Deploying app 'ml_service' failed with exception:\nModuleNotFoundError: acme"
