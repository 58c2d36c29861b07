"""`python -m seedcore.api`: the gateway as a process of its own, without any Ray."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import httpx
import psutil
import pytest

from seedcore.settings import Settings

pytestmark = pytest.mark.integration

DEADLINE_S = 30
Start = Callable[..., subprocess.Popen[str]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start(pg_settings: Settings) -> Iterator[Start]:
    """Start a gateway with these variables; it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def run(**variables: str) -> subprocess.Popen[str]:
        assert pg_settings.pg_dsn is not None
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "SEEDCORE_DATA_DIR": str(pg_settings.data_dir),
            "SEEDCORE_PG_DSN": pg_settings.pg_dsn.get_secret_value(),
            **variables,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "seedcore.api"], env=environment, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(DEADLINE_S)
        if process.stderr is not None:
            process.stderr.close()


def wait_until_healthy(process: subprocess.Popen[str], base: str) -> dict:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        try:
            answer = httpx.get(f"{base}/health", timeout=5)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            assert answer.status_code == 200, answer.text
            return answer.json()
    raise AssertionError("the gateway did not come up")


def test_the_gateway_serves_without_any_ray_and_ends_in_time_with_a_stream_open(start: Start):
    port = free_port()
    process = start(SEEDCORE_API_PORT=str(port))
    base = f"http://127.0.0.1:{port}"
    assert wait_until_healthy(process, base)["service"] == "gateway"
    answer = httpx.post(f"{base}/api/v1/tasks", json={"type": "echo", "params": {"value": 1}})
    assert answer.status_code == 201
    maps = psutil.Process(process.pid).memory_maps()
    assert not [m.path for m in maps if "/ray/" in m.path], "Ray was loaded"
    with httpx.stream("GET", f"{base}/api/v1/tasks/{answer.json()['id']}/events", timeout=10) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("id: ")
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        process.wait(DEADLINE_S)
    assert time.monotonic() - began < 15
    assert process.returncode in (0, -signal.SIGTERM), process.stderr.read() if process.stderr else ""
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{base}/health")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org"])
def test_a_host_that_is_not_loopback_needs_keys(start: Start, host: str):
    process = start(SEEDCORE_HTTP_HOST=host, SEEDCORE_API_PORT=str(free_port()))
    _, told = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert f"SEEDCORE_HTTP_HOST='{host}'" in told
    assert "SEEDCORE_API_KEYS" in told
    assert "Traceback" not in told


def test_every_loopback_address_is_one_without_keys(start: Start):
    port = free_port()
    process = start(SEEDCORE_HTTP_HOST="127.0.0.2", SEEDCORE_API_PORT=str(port))
    wait_until_healthy(process, f"http://127.0.0.2:{port}")


def test_its_log_says_where_it_serves_which_requests_failed_and_that_it_stopped(start: Start):
    port = free_port()
    process = start(SEEDCORE_API_PORT=str(port), LOG_FORMAT="json")
    base = f"http://127.0.0.1:{port}"
    wait_until_healthy(process, base)
    assert httpx.get(f"{base}/api/v1/tasks/no-id?token=hunter2").status_code == 422
    assert httpx.get(f"{base}/api/v1/skills").status_code == 200
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=DEADLINE_S)
    events = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    serving, refused, stopped = [event for event in events if event["logger"] == "seedcore.api"]
    assert (serving["event"], serving["url"]) == ("serving", base)
    assert (refused["event"], refused["status"], refused["path"]) == ("request refused", 422, "/api/v1/tasks/no-id")
    assert stopped["event"] == "stopped"
    assert "hunter2" not in log


def test_with_keys_it_may_listen_everywhere(start: Start):
    port = free_port()
    process = start(SEEDCORE_HTTP_HOST="0.0.0.0", SEEDCORE_API_PORT=str(port), SEEDCORE_API_KEYS="key")
    base = f"http://127.0.0.1:{port}"
    wait_until_healthy(process, base)
    assert httpx.get(f"{base}/api/v1/tasks").status_code == 401
    assert httpx.get(f"{base}/api/v1/tasks", headers={"x-api-key": "key"}).status_code == 200


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("SEEDCORE_API_PORT", "99999", "SEEDCORE_API_PORT='99999' is not allowed"),
        ("SEEDCORE_SKILLS", "no_such_module", "'no_such_module' cannot be imported"),
        ("SEEDCORE_PG_DSN", "mysql://u:hunter2@h/d", "postgresql://"),
    ],
)
def test_a_bad_setting_ends_it_with_2_and_the_reason(start: Start, variable: str, value: str, told: str):
    process = start(**{variable: value})
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert variable in said
    assert told in said
    assert "hunter2" not in said
    assert "Traceback" not in said


def test_a_port_that_is_taken_ends_it_with_a_reason(start: Start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = start(SEEDCORE_API_PORT=str(taken.getsockname()[1]))
        _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode not in (0, None)
    assert "address already in use" in said
