"""A real, isolated Ray head for tests: own ports, own folder, dead when the test is over."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

HOST = "127.0.0.1"
START_DEADLINE_S = 60.0
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class RayHead:
    """A running head: where it answers, and the processes that make it up."""

    port: int
    client_port: int
    temp_dir: Path
    process: subprocess.Popen[bytes]
    env: dict[str, str] = field(repr=False)
    metrics_port: int = 0

    @property
    def address(self) -> str:
        """GCS address, for drivers on this host."""
        return f"{HOST}:{self.port}"

    @property
    def client_url(self) -> str:
        """Address of the Ray client server."""
        return f"ray://{HOST}:{self.client_port}"

    @property
    def raylet(self) -> psutil.Process:
        """The raylet of this head."""
        return next(p for p in self.tree() if p.name() == "raylet")

    def wait_until_ready(self) -> None:
        """Wait until it takes drivers and clients: `ray start` says so when the raylet has registered."""
        log = self.temp_dir / "start.log"
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            if b"Ray runtime started" in log.read_bytes() and _listens(self.port) and _listens(self.client_port):
                return
            time.sleep(0.05)
        raise RuntimeError(f"Ray did not start; its output: {log.read_text(errors='replace')}")

    def tree(self) -> list[psutil.Process]:
        """Every process of this head that is alive now."""
        try:
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def stop(self) -> None:
        """End every process of this head and remove its folder; safe to call again."""
        processes = self.tree()
        if not self.temp_dir.exists():
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(10)
        psutil.wait_procs(processes, timeout=10)
        shutil.rmtree(self.temp_dir, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on now, each a different one."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind((HOST, 0))
        return [int(item.getsockname()[1]) for item in sockets]


def isolated_env(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without any choice of a Ray, with `env` on top.

    The client server forks a process for each client while gRPC threads run; with gRPC's fork handlers on, that
    child crashes often (https://github.com/ray-project/ray/issues/63202).
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SEEDCORE_"))}
    ours = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "GRPC_ENABLE_FORK_SUPPORT": "0"}
    return {**kept, **ours, **(env or {})}


@contextlib.contextmanager
def ray_head(*, num_cpus: int = 1, env: Mapping[str, str] | None = None) -> Iterator[RayHead]:
    """Start a Ray head with a client server, and stop it whatever happens.

    Args:
        num_cpus: CPUs that it offers to tasks and actors.
        env: environment of its processes, on top of `isolated_env()`.
    """
    head = launch_ray_head(num_cpus=num_cpus, env=env)
    try:
        head.wait_until_ready()
        yield head
    finally:
        head.stop()


def launch_ray_head(*, num_cpus: int = 1, env: Mapping[str, str] | None = None) -> RayHead:
    """Launch a head without waiting for it, so that several start side by side; the caller must call `stop()`.

    Call it from the main thread: the head is told to end when the thread that launched it ends.
    """
    gcs, client, agent_http, agent_grpc, metrics, runtime_env = free_ports(6)
    # Short, because Ray puts UNIX sockets below it and their paths are limited to 107 bytes.
    temp_dir = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    environment = isolated_env(env)
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--head", "--block"]
    command += [f"--node-ip-address={HOST}", f"--port={gcs}", f"--ray-client-server-port={client}"]
    command += [f"--dashboard-agent-listen-port={agent_http}", f"--dashboard-agent-grpc-port={agent_grpc}"]
    command += [f"--metrics-export-port={metrics}", f"--runtime-env-agent-port={runtime_env}"]
    command += ["--min-worker-port=0", "--max-worker-port=0", "--include-dashboard=false", "--disable-usage-stats"]
    command += [f"--num-cpus={num_cpus}", "--object-store-memory=80000000", f"--temp-dir={temp_dir}"]
    with (temp_dir / "start.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    return RayHead(
        port=gcs, client_port=client, temp_dir=temp_dir, process=process, env=environment, metrics_port=metrics
    )


def _die_with_parent() -> None:
    """Get SIGTERM when the test process dies, however it dies: `finally` does not run under SIGKILL."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
