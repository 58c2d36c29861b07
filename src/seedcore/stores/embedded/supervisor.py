"""Supervisor of one embedded server: starts it, restarts it when it dies, and stops it when no process uses it.

It is a process of its own, started by `seedcore.stores.embedded.embedded_server`, never by hand.

It imports little, because it stays for as long as SeedCore runs.
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Protocol

from seedcore.errors import SeedCoreError, UnavailableError, problem
from seedcore.stores.embedded.lock_files import (
    ServerAddress,
    ServerFiles,
    ServerOptions,
    keep_bounded,
    open_lock,
    same_file,
    tail,
    try_lock,
    unlock,
)
from seedcore.stores.embedded.os_processes import alive, wait_until

TICK_S = 0.1
CHECK_S = 1.0
GRACE_S = 2.0
MAX_FAILED_STARTS = 5


class Server(Protocol):
    """One kind of server, as the supervisor sees it."""

    start_timeout_s: float

    def prepare(self) -> None:
        """Check the data, make it on the first start; raises when it cannot be used."""

    def find(self) -> int | None:
        """The pid of this data directory's server when one already runs."""

    def clear(self) -> None:
        """Remove what a server that was killed left behind, its orphaned children included."""

    def start(self, lock_fd: int, log_fd: int) -> "subprocess.Popen[bytes]":
        """Start it; it inherits the lock."""

    def ready(self, pid: int) -> ServerAddress | None:
        """Its address once it answers, None before."""

    def intact(self) -> bool:
        """False when it runs but can no longer be reached."""

    def stop(self, pid: int) -> None:
        """End it, gently first; returns when it is gone."""


class Supervisor:
    """Keeps one server running while any process holds a lease on it."""

    def __init__(self, server: Server, files: ServerFiles, lock_fd: int) -> None:
        self._server = server
        self._files = files
        self._lock_fd = lock_fd
        self._lease_fd = open_lock(files.lease)
        self._pid: int | None = None
        self._started_at = 0.0
        self._child: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._restarts = 0
        self._failed_starts = 0
        self._unheld_since: float | None = None
        self._checked_at = 0.0
        self._stop_requested = False

    def run(self) -> None:
        """Own the server until no process needs it, or it cannot be kept running."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        self._files.write_state("starting")
        try:
            self._server.prepare()
            self._pid = self._server.find()
            if self._pid is not None:
                self._started_at = time.monotonic()
                self._print(f"found its server running, pid {self._pid}")
            while not (self._stop_requested or self._abandoned()):
                self._check()
                time.sleep(TICK_S)
        except SeedCoreError as error:
            self._fail(error)
        except Exception as error:
            self._fail(UnavailableError(f"The supervisor of the embedded {self._files.kind} server failed: {error!r}"))
            raise
        finally:
            self._stop_server()
        self._print("done")

    def _on_signal(self, *_: object) -> None:
        self._stop_requested = True

    def _check(self) -> None:
        if self._pid is None or self._is_dead():
            self._restart()
        elif not self._ready:
            facts = self._server.ready(self._pid)
            if facts is not None:
                self._ready, self._failed_starts = True, 0
                self._print(f"ready, pid {self._pid}")
                self._files.write_state("ready", pid=self._pid, restarts=self._restarts, **facts)
            elif time.monotonic() - self._started_at > self._server.start_timeout_s:
                self._print(f"not ready after {self._server.start_timeout_s} s")
                self._server.stop(self._pid)
        elif time.monotonic() - self._checked_at > CHECK_S:
            self._checked_at = time.monotonic()
            keep_bounded(self._files.server_log)
            if not self._server.intact():
                self._print("the server cannot be reached any more; restarting it")
                self._stop_server()

    def _is_dead(self) -> bool:
        if self._child is not None:
            return self._child.poll() is not None
        return self._pid is None or not alive(self._pid)

    def _restart(self) -> None:
        """Start the server, the first time or after it died; gives up after MAX_FAILED_STARTS."""
        if self._pid is not None:
            self._print(f"the server (pid {self._pid}) has gone")
            self._restarts += 1
            self._failed_starts += not self._ready
        self._pid, self._child, self._ready = None, None, False
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise UnavailableError(
                f"The embedded {self._files.kind} server does not start; the end of {self._files.server_log}: "
                f"{tail(self._files.server_log)}"
            )
        self._files.write_state("starting")
        time.sleep(0.2 * self._failed_starts)
        self._server.clear()
        self._child = self._start()
        self._pid, self._started_at = self._child.pid, time.monotonic()

    def _start(self) -> "subprocess.Popen[bytes]":
        lock_fd = open_lock(self._files.server)
        log_fd = os.open(self._files.server_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not wait_until(lambda: try_lock(lock_fd), timeout_s=10):
                raise UnavailableError(
                    f"A process that this supervisor does not know still uses {self._files.data_dir} "
                    f"(it holds {self._files.server}). Stop it, or set SEEDCORE_DATA_DIR to another folder."
                )
            return self._server.start(lock_fd, log_fd)
        finally:
            os.close(lock_fd)
            os.close(log_fd)

    def _abandoned(self) -> bool:
        """True when no process has held a lease for a while; from then on none can get one until this process ends."""
        if not same_file(self._lock_fd, self._files.lock):
            self._print("the data directory was removed")
            return True
        if not try_lock(self._lease_fd):
            self._unheld_since = None
            return False
        now = time.monotonic()
        if self._unheld_since is None:
            self._unheld_since = now
        if now - self._unheld_since >= GRACE_S:
            self._print("no process holds a lease any more")
            return True
        # While the grace lasts, a process that comes back must get its lease.
        unlock(self._lease_fd)
        return False

    def _stop_server(self) -> None:
        if self._pid is None:
            return
        if self._files.state.parent.exists():
            self._files.write_state("stopping", pid=self._pid)
        self._server.stop(self._pid)
        if self._child is not None:
            self._child.wait()
        self._pid, self._child, self._ready = None, None, False

    def _fail(self, error: SeedCoreError) -> None:
        self._print(error.detail)
        self._stop_server()
        self._files.write_state("failed", problem=problem(error))

    def _print(self, message: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        print(f"{stamp} {self._files.kind} supervisor {os.getpid()}: {message}", flush=True)  # noqa: T201 - its log


def make_normal() -> None:
    """Undo what a Ray worker hands down: a low priority, and being the first to be killed when memory is short."""
    oom = Path("/proc/self/oom_score_adj")
    try:
        os.setpriority(os.PRIO_PROCESS, 0, min(0, os.getpriority(os.PRIO_PROCESS, 0)))
        oom.write_text(str(min(0, int(oom.read_text()))))
    except PermissionError as error:
        # Only root may. The server works all the same, so say it and go on.
        print(f"keeps the priority of the process that started it: {error}", flush=True)  # noqa: T201 - its log


def make_server(kind: str, files: ServerFiles, options: ServerOptions) -> Server:
    """The server of that kind."""
    if kind == "postgres":
        from seedcore.stores.embedded.postgres_server import PostgresServer

        return PostgresServer(files, Path(options["socket_dir"]), Path(options["package_dir"]))
    if kind == "bolt":
        from seedcore.stores.embedded.bolt_server import BoltServer

        return BoltServer(files, int(options["heap_mb"]), Path(options["package_dir"]))
    if kind == "llama":
        from seedcore.stores.embedded.llama_server import LlamaServer

        return LlamaServer(files, options)
    raise ValueError(f"unknown kind of embedded server: {kind}")


def main() -> int:
    """Detach, then own the server."""
    kind, data_dir, lock_fd, options = sys.argv[1:5]
    if os.fork():
        # The supervisor must be no process's child: Ray kills the children of a worker that exits.
        os._exit(0)
    fd = int(lock_fd)
    os.set_inheritable(fd, False)
    make_normal()
    files = ServerFiles(Path(data_dir), kind)
    try:
        Supervisor(make_server(kind, files, json.loads(options)), files, fd).run()
    except Exception:  # noqa: BLE001 - written to the supervisor's log
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
