"""`python -m bootstraps.bootstrap_entry` without a Ray; with one it is in tests/e2e."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bootstraps import bootstrap_entry
from seedcore.errors import RayConnectionError
from seedcore.settings import Settings
from seedcore.telemetry.metrics.metric_registry import REGISTRY


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SEEDCORE_", "RAY_", "BOOTSTRAP_"))}
    return subprocess.run(
        [sys.executable, "-m", "bootstraps.bootstrap_entry"],
        env={**inherited, "RAY_AUTH_MODE": "disabled", **environment},
        capture_output=True,
        text=True,
        timeout=90,
    )


@pytest.mark.integration
def test_an_unknown_mode_ends_with_2_and_the_allowed_values(tmp_path):
    done = run(BOOTSTRAP_MODE="everything", SEEDCORE_DATA_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "BOOTSTRAP_MODE" in done.stderr
    assert "everything" in done.stderr
    assert all(mode in done.stderr for mode in ("all", "organism", "dispatchers"))
    assert not list(tmp_path.iterdir())


@pytest.mark.integration
def test_a_database_that_refuses_ends_with_1_and_hides_the_password(tmp_path):
    dsn = "postgresql://someone:hunter2@127.0.0.1:1/seedcore"
    done = run(SEEDCORE_PG_DSN=dsn, SEEDCORE_DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "SEEDCORE_PG_DSN" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


class Organism(ThreadingHTTPServer):
    """Answers `POST /organism/initialize` as the Organism does that needs a second look, and keeps what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Organism

    def do_POST(self) -> None:
        self.server.asked.append(self.path)
        up = len(self.server.asked) > 1
        body = json.dumps({"organism_initialized": up, "organs": {"utility": {}}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def organism() -> Iterator[Organism]:
    with Organism() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def database(pg_settings: Settings, tmp_path) -> dict[str, str]:
    assert pg_settings.pg_dsn is not None
    return {"SEEDCORE_PG_DSN": pg_settings.pg_dsn.get_secret_value(), "SEEDCORE_DATA_DIR": str(tmp_path / "data")}


@pytest.mark.integration
def test_where_the_named_ray_does_not_answer_the_organism_is_initialized_over_http(
    database: dict[str, str], organism: Organism
):
    done = run(
        **database,
        BOOTSTRAP_MODE="organism",
        RAY_ADDRESS="ray://127.0.0.1:1",
        SEEDCORE_RAY_CONNECT_TIMEOUT_S="0.5",
        RAY_SERVE_ADDRESS=organism.url,
    )
    assert done.returncode == 0, done.stderr
    assert organism.asked == ["/organism/initialize"] * 2
    assert "the organism is reached over HTTP" in done.stderr
    assert "ray://127.0.0.1:1" in done.stderr


async def test_the_organism_is_initialized_before_dispatchers_are_asked_to_work_and_ray_is_tried_again_for_them(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    steps: list[str] = []
    no_ray = [RayConnectionError("nothing answers there")]

    def wait_for_ray(_deadline: float, *, settings: Settings) -> None:
        steps.append("ray")
        if no_ray:
            raise no_ray.pop()

    def step(name: str) -> Callable[..., Coroutine[None, None, float]]:
        async def done(*_: object) -> float:
            steps.append(name)
            return 0.0

        return done

    async def exported(_settings: Settings) -> None:
        assert REGISTRY.take().counts["seedcore_fallbacks_total"]["bootstrap_http",] == 1

    REGISTRY.take()
    monkeypatch.setattr(bootstrap_entry, "_export_metrics", exported)
    monkeypatch.setattr(bootstrap_entry, "migrate", lambda _: steps.append("schema"))
    monkeypatch.setattr(bootstrap_entry, "wait_for_ray", wait_for_ray)
    for name in ("bootstrap_memory", "bootstrap_organism", "bootstrap_dispatchers", "canary", "bootstrap_warmth"):
        monkeypatch.setattr(bootstrap_entry, name, step(name))
    await bootstrap_entry.bootstrap(settings)
    assert steps == [
        "schema",
        "bootstrap_memory",
        "ray",
        "bootstrap_organism",
        "ray",
        "bootstrap_dispatchers",
        "canary",
        "bootstrap_warmth",
    ]


@pytest.mark.integration
def test_dispatchers_need_the_ray_that_is_named(database: dict[str, str]):
    done = run(**database, BOOTSTRAP_MODE="dispatchers", RAY_ADDRESS="127.0.0.1:1", SEEDCORE_BOOTSTRAP_TIMEOUT_S="1")
    assert done.returncode == 1
    assert "schema is up to date" in done.stderr
    assert "Bootstrap failed (ray_unavailable): Cannot connect to the Ray at 127.0.0.1:1" in done.stderr


@pytest.mark.integration
def test_without_an_address_it_waits_for_a_ray_that_is_coming_and_starts_none(database: dict[str, str]):
    began = time.monotonic()
    done = run(**database, BOOTSTRAP_MODE="dispatchers", SEEDCORE_BOOTSTRAP_TIMEOUT_S="3")
    assert done.returncode == 1
    assert time.monotonic() - began > 3
    assert "No Ray came up in time: no Ray runs on this host and RAY_ADDRESS is not set" in done.stderr
