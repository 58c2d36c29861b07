"""`seedcore run` from its first line to its last: ready, healthy, one task, and nothing left behind."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest

from benchmarks.system import System

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

HEALTH = ["/health", *(f"/{app}/health" for app in ("ml", "cognitive", "pipeline", "state", "energy", "organism"))]
STOP_S = 20


@pytest.fixture(scope="module")
def running() -> Iterator[System]:
    with System() as system:
        yield system


def end(system: System, number: signal.Signals) -> int:
    """Send the launcher a signal; its exit status."""
    return int(system.process.send_signal(number) or system.process.wait(STOP_S))


def left_of(system: System, processes: list[psutil.Process], timeout_s: float) -> list[str]:
    return [f"{p.pid} {p.name()}" for p in system.wait_gone(processes, timeout_s) if p.status() != psutil.STATUS_ZOMBIE]


def submit(system: System, **task: object) -> str:
    answer = httpx.post(f"{system.url}/api/v1/tasks", json={"type": "echo", "params": {"value": 7}, **task}, timeout=30)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def result(system: System, task_id: str, timeout_s: float = 60) -> object:
    deadline = time.monotonic() + timeout_s
    while (task := system.get(f"/api/v1/tasks/{task_id}"))["status"] != "completed":
        assert time.monotonic() < deadline, task
        time.sleep(0.05)
    return task["result"]


def test_one_line_says_that_it_is_ready_and_where(running: System) -> None:
    lines = [line for line in running.output().splitlines() if line.startswith("SeedCore is ready")]
    assert len(lines) == 1
    assert running.url in lines[0]


@pytest.mark.parametrize("path", HEALTH)
def test_every_application_is_healthy_when_it_says_so(running: System, path: str) -> None:
    answer = httpx.get(running.url + path, timeout=30)
    assert answer.status_code == 200, answer.text


def test_a_task_runs_to_its_end(running: System) -> None:
    assert result(running, submit(running)) == {"value": 7}


def test_http_listens_on_loopback_alone(running: System) -> None:
    listening = {
        c.laddr.ip
        for process in running.processes()
        for c in process.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN and c.laddr.port == running.port
    }
    assert listening == {"127.0.0.1"}


def test_its_ray_wants_a_token(running: System) -> None:
    (raylet,) = running.find("raylet/raylet")
    assert raylet.environ()["RAY_AUTH_MODE"] == "token"


def test_its_address_is_in_the_data_directory(running: System) -> None:
    (raylet,) = running.find("raylet/raylet")
    record = json.loads((running.data_dir / "run" / "ray_address").read_text())
    assert f"--gcs-address={record['address']}" in raylet.cmdline()


def test_no_replica_starves_behind_the_others(running: System) -> None:
    replicas = running.find("ray::ServeReplica")
    assert len(replicas) == 7
    assert {p.nice() for p in replicas} == {psutil.Process().nice()}


def test_ctrl_c_ends_all_that_it_started(running: System) -> None:
    """The last test of this SeedCore."""
    started = running.processes()
    assert len(started) > 15
    assert end(running, signal.SIGINT) == 0
    assert left_of(running, started, 1) == []
    assert "SeedCore has stopped." in running.output()
    log = (running.data_dir / "logs" / "serve.log").read_text()
    (stopped,) = [json.loads(line) for line in log.splitlines() if '"dispatchers stopped"' in line]
    assert (stopped["stopped"], stopped["late"]) == (3, 0)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{running.url}/health", timeout=5)


def completed(system: System, at_least: int) -> dict[str, int]:
    """What each agent has completed, as State tells, once it is so many in all."""
    deadline = time.monotonic() + 20
    while True:
        agents = system.get("/state/unified-state")["agents"]
        counts = {name: agent["completed"] for name, agent in agents.items() if "echo" in agent["rates"]}
        if sum(counts.values()) >= at_least:
            return counts
        assert time.monotonic() < deadline, agents
        time.sleep(0.1)


def test_it_goes_on_with_its_tasks_and_what_it_learned_after_the_launcher_was_killed() -> None:
    with System() as system:
        for task_id in [submit(system) for _ in range(20)]:
            result(system, task_id)
        learned = completed(system, 20)
        waiting = submit(system, run_after=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 20)))
        started = system.processes()
        end(system, signal.SIGKILL)
        # The embedded server ends in good order after its last lease-holder.
        assert left_of(system, started, 20) == []
        system.start()
        assert result(system, waiting) == {"value": 7}
        for task_id in [submit(system) for _ in range(20)]:
            result(system, task_id)
        later = completed(system, sum(learned.values()) + 21)
        assert all(later[agent] >= count for agent, count in learned.items())
        started = system.processes()
        assert end(system, signal.SIGTERM) == 0
        assert left_of(system, started, 1) == []


def test_when_ray_dies_it_says_so_and_ends_with_1() -> None:
    with System() as system:
        started = system.processes()
        (gcs,) = system.find("gcs_server")
        gcs.kill()
        assert system.process.wait(STOP_S) == 1
        assert "gcs_server of the local Ray has ended" in system.output()
        assert left_of(system, started, 1) == []


def demo(system: System, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`make demo`, with the environment of a system."""
    command = [sys.executable, "-m", "examples.demo", *arguments]
    return subprocess.run(command, env=system.environment, capture_output=True, text=True, timeout=700, check=False)


# On a busy machine a start has 600 s: that it takes them is no failure here.
@pytest.mark.timeout(900)
def test_the_demo_starts_it_behind_serves_own_proxy_finds_it_warm_leaves_it_running_and_stops_it() -> None:
    system = System(SEEDCORE_HTTP_MODE="proxy")
    try:
        done = demo(system, "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert (found["good"], found["answered"]) == (True, 171)
        assert found["p99_ms"] < 1000, "the ready line means that all is warm"
        assert "make demo ARGS=--stop" in done.stderr
        assert [line for line in cold(system) if line] == []
        (proxy,) = system.find("ray::ProxyActor")
        proxy.kill()
        system.wait_healthy(60)
        again = demo(system, "--json")
        assert again.returncode == 0, again.stderr
        assert "starting one" not in again.stderr
        started = system.processes()
        assert len(started) > 15
        assert demo(system, "--stop").returncode == 0
        assert left_of(system, started, 1) == []
        assert "has started no SeedCore here" in demo(system, "--stop").stderr
    finally:
        demo(system, "--stop")
        system.__exit__(None, None, None)


def cold(system: System) -> list[object]:
    """What the bootstrap found cold, which the ready line waits for."""
    log = (system.data_dir / "logs" / "bootstrap.log").read_text().splitlines()
    warmth = [json.loads(line) for line in log if '"bootstraps.warmth"' in line]
    assert len(warmth) == 1, log
    assert {"seedcore-dispatcher-1", "seedcore-dispatcher-2"} <= set(warmth[0]["actors"])
    return [warmth[0].get("cold"), system.get("/ml/health").get("cold")]
