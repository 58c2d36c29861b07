"""A whole SeedCore of one's own, started by `seedcore run` on a free port and a data directory of its own."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

READY = "SeedCore is ready"
ROOT = Path(__file__).resolve().parents[1]
DEMO_S = 900.0


def matches(line: str, parts: Sequence[str]) -> bool:
    """Whether a command line holds all of `parts`; a part may give alternatives, divided by `|`."""
    return all(any(one in line for one in part.split("|")) for part in parts)


def demo(url: str) -> dict[str, Any]:
    """What `make demo` measures at `url`: 171 tasks that ask a model, submitted at once."""
    command = [sys.executable, "-m", "examples.demo", "--json", "--base-url", url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEMO_S, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def free_port() -> int:
    """A loopback port that nobody listens on just now, and that no outgoing connection gets between a stop and a start.

    Linux gives those ports from 32768 on.
    """
    for port in random.sample(range(20_000, 32_000), 1000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port between 20000 and 32000")


class System:
    """A running SeedCore; `with` starts it and takes it down, whatever happens in between."""

    def __init__(self, *, start_s: float = 180.0, **environment: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="scb"))
        self.data_dir = self._folder / "data"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self._folder / "run.log"
        self._start_s = start_s
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SEEDCORE_", "RAY_"))}
        mine = {"SEEDCORE_DATA_DIR": str(self.data_dir), "SEEDCORE_HTTP_PORT": str(self.port)}
        self.environment = {**inherited, **mine, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def process(self) -> psutil.Process:
        """The launcher."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def start(self) -> float:
        """Start it, also again on the same data; returns the seconds until it was ready.

        Raises:
            RuntimeError: it was not ready in time; holds the end of its output.
        """
        began = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "seedcore.cli.main", "run"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while READY not in self.output():
            if self._process.poll() is not None or time.monotonic() - began > self._start_s:
                raise RuntimeError(f"SeedCore did not start:\n{self.output()[-2000:]}")
            time.sleep(0.05)
        return time.monotonic() - began

    def output(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def find(self, *parts: str) -> list[psutil.Process]:
        """Its processes whose command line `matches` the parts; PostgreSQL and its supervisor belong to it."""
        found = []
        for process in self.processes():
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if matches(line, parts):
                found.append(process)
        return found

    def processes(self) -> list[psutil.Process]:
        """All of its processes: the launcher's descendants, and those that name its data directory."""
        found: dict[int, psutil.Process] = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            if self._process is not None:
                found = {p.pid: p for p in [self.process, *self.process.children(recursive=True)]}
        for process in psutil.process_iter():
            try:
                if str(self._folder) in " ".join(process.cmdline()):
                    found |= {p.pid: p for p in [process, *process.children(recursive=True)]}
            except psutil.Error:
                continue
        return list(found.values())

    def wait_ended(self, timeout_s: float) -> None:
        """Wait until the launcher has ended by itself."""
        assert self._process is not None
        self._process.wait(timeout_s)

    def wait_gone(self, processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
        """Wait until `processes` have ended; returns those that have not."""
        return psutil.wait_procs(processes, timeout=timeout_s)[1]

    def wait_healthy(self, timeout_s: float = 60.0) -> float:
        """Wait until every application says it is healthy; returns the seconds it took."""
        began = time.monotonic()
        paths = ("", "/ml", "/cognitive", "/pipeline", "/state", "/energy", "/organism")
        while not all(self._healthy(path) for path in paths):
            if time.monotonic() - began > timeout_s:
                raise RuntimeError(f"not healthy within {timeout_s} s: {[p for p in paths if not self._healthy(p)]}")
            time.sleep(0.1)
        return time.monotonic() - began

    def _healthy(self, path: str) -> bool:
        try:
            return httpx.get(f"{self.url}{path}/health", timeout=10).status_code == 200
        except httpx.HTTPError:
            return False

    def get(self, path: str) -> Any:
        """The JSON that a GET answers."""
        return httpx.get(self.url + path, timeout=30).raise_for_status().json()

    def stop(self) -> None:
        """Ctrl-C, and force where that is not enough."""
        if self._process is None:
            return
        mine = self.processes()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(45)
        for process in self.wait_gone(mine, 10):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(10)
        self._process = None
