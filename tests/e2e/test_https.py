"""`seedcore run` with TLS everywhere: HTTP through HAProxy, and Ray between its processes."""

import time
from collections.abc import Iterator

import httpx
import pytest

from benchmarks.system import System
from tests.e2e.test_run import HEALTH
from tests.support.certificates import Authority, served_serial

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="module")
def running(authority: Authority) -> Iterator[System]:
    files = {"CERT": str(authority.cert), "KEY": str(authority.key)}
    http = {f"SEEDCORE_TLS_{name}": path for name, path in files.items()}
    ray = {f"RAY_TLS_SERVER_{name}": path for name, path in files.items()}
    ca = {"RAY_TLS_CA_CERT": str(authority.ca), "SEEDCORE_TLS_CA": str(authority.ca)}
    with System(RAY_USE_TLS="1", **http, **ray, **ca) as system:
        yield system


@pytest.fixture
def client(running: System, authority: Authority) -> Iterator[httpx.Client]:
    url = f"https://127.0.0.1:{running.port}"
    with httpx.Client(base_url=url, verify=authority.context, timeout=30) as made:
        yield made


def test_the_line_that_it_is_ready_says_https(running: System):
    (line,) = [line for line in running.output().splitlines() if line.startswith("SeedCore is ready")]
    assert line == f"SeedCore is ready: https://127.0.0.1:{running.port}"


def test_every_application_answers_over_tls_and_none_without(client: httpx.Client, running: System):
    for path in HEALTH:
        assert client.get(path).status_code == 200
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{running.port}/health", timeout=10)


def test_a_task_runs_on_a_ray_whose_processes_speak_tls(client: httpx.Client, running: System):
    for process in running.find("raylet/raylet"):
        assert process.environ()["RAY_USE_TLS"] == "1"
    task = client.post("/api/v1/tasks", json={"type": "echo", "params": {"value": 7}}).json()
    deadline = time.monotonic() + 60
    while (task := client.get(f"/api/v1/tasks/{task['id']}").json())["status"] != "completed":
        assert time.monotonic() < deadline, task
        time.sleep(0.05)
    assert task["result"] == {"value": 7}


def test_a_new_certificate_is_shown_without_a_restart(client: httpx.Client, running: System, authority: Authority):
    assert client.get("/health").status_code == 200
    (connection,) = client._transport._pool.connections  # type: ignore[attr-defined]
    old = authority.serial
    assert served_serial(running.port, authority.context) == old
    authority.renew()
    deadline = time.monotonic() + 60
    while served_serial(running.port, authority.context) != authority.serial:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert client.get("/health").status_code == 200
    assert client._transport._pool.connections == [connection]  # type: ignore[attr-defined]
