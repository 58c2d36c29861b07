"""Files that the processes of one data directory share: locks, and the supervisor's state.

Three locks, all `flock`, so the kernel drops them with the process:

* `<kind>.lock`, exclusive: held by the supervisor.
* `<kind>.lease`, shared: held by every process that needs the server. It can be locked exclusively when none does.
* `<kind>.server`, exclusive: inherited by the server and its children, so it is free only when all of them are gone.
"""

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Required, TypedDict

from seedcore.errors import SettingsError

LOG_LIMIT_BYTES = 8 * 1024 * 1024


class ServerAddress(TypedDict):
    """Where a server that is ready can be reached, and what it is."""

    uri: str
    socket: str | list[str | int]
    version: str
    major: int


class ServerOptions(TypedDict, total=False):
    """Options of a server: where its wheel is, and what only one kind has (PostgreSQL, Bolt, llama.cpp)."""

    package_dir: str
    socket_dir: str
    heap_mb: int
    model: str
    model_name: str
    context_tokens: int
    threads: int


class SupervisorState(TypedDict, total=False):
    """What a supervisor last wrote about itself and its server.

    Attributes:
        phase: `starting`, `ready`, `stopping` or `failed`.
        at: monotonic time of the writing.
        problem: why it failed, as a problem document.
    """

    phase: Required[str]
    supervisor_pid: Required[int]
    at: Required[float]
    pid: int
    restarts: int
    uri: str
    socket: str | list[str | int]
    version: str
    major: int
    problem: dict[str, object]


class ServerFiles:
    """Paths of one embedded server's files."""

    def __init__(self, data_dir: Path, kind: str) -> None:
        self.data_dir = data_dir
        self.kind = kind
        run, logs = data_dir / "run", data_dir / "logs"
        self.lock = run / f"{kind}.lock"
        self.lease = run / f"{kind}.lease"
        self.server = run / f"{kind}.server"
        self.state = run / f"{kind}.json"
        self.server_log = logs / f"{kind}.log"
        self.supervisor_log = logs / f"{kind}-supervisor.log"

    def make(self) -> None:
        """Make the folders.

        Raises:
            SettingsError: the data directory cannot be made or written.
        """
        try:
            if not self.data_dir.exists():
                self.data_dir.mkdir(parents=True, exist_ok=True)
                # As root, the server runs as another user, who must get through to its own folder.
                self.data_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)
            for folder in (self.lock.parent, self.server_log.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
            os.close(open_lock(self.lease))
        except OSError as error:
            raise SettingsError(
                f"SEEDCORE_DATA_DIR={self.data_dir} cannot be used: {error.strerror or error} ({error.filename}). "
                "Set it to a folder that this user may write, or make this one writable."
            ) from error

    def read_state(self) -> SupervisorState | None:
        """The supervisor's last state; None before it wrote one."""
        try:
            state: SupervisorState = json.loads(self.state.read_text())
        except FileNotFoundError:
            return None
        return state

    def write_state(self, phase: str, **facts: object) -> None:
        """Replace the state in one step, so that no reader sees half of it."""
        state = {"phase": phase, "supervisor_pid": os.getpid(), "at": time.monotonic(), **facts}
        draft = self.state.with_suffix(".json.new")
        draft.write_text(json.dumps(state))
        draft.replace(self.state)


def open_lock(path: Path) -> int:
    """Open a lock file (not inherited by programs that this process starts)."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(fd: int, *, shared: bool = False) -> bool:
    """Take the lock now; False when another process has it."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(fd: int) -> None:
    """Release the lock."""
    fcntl.flock(fd, fcntl.LOCK_UN)


def same_file(fd: int, path: Path) -> bool:
    """False when the file behind `fd` was deleted or replaced."""
    try:
        there, ours = path.stat(), os.fstat(fd)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def keep_bounded(log: Path) -> None:
    """Move a log that has grown too long aside. Writers append, so they go on at the new beginning."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.with_suffix(".log.1").write_bytes(log.read_bytes())
        os.truncate(log, 0)


def tail(log: Path, lines: int = 5) -> str:
    """The last lines of a log, for an error's detail."""
    if not log.exists():
        return "(no log)"
    return " | ".join(log.read_text(errors="replace").splitlines()[-lines:])
