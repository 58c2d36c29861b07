"""Inspect, signal and start other processes (Linux), for the supervisor."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from seedcore.errors import UnavailableError

PROC = Path("/proc")
CLEAN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def alive(pid: int) -> bool:
    """True while any of its threads runs: the first is a zombie early, when the others may still hold its sockets."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    fields = stat.rpartition(")")[2].split()
    state, threads = fields[0], int(fields[17])
    return state not in "ZX" or threads > 1


def command_line(pid: int) -> list[str]:
    """The process's arguments, the last one empty; only that when it has gone or has none."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return [""]


def owner(pid: int) -> int | None:
    """Its effective user; None when it has gone. The owner of /proc/PID itself can differ from that."""
    try:
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("Uid:"):
                return int(line.split()[2])
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None


def find_all(uid: int, matches: Callable[[list[str]], bool]) -> Iterator[int]:
    """Live processes of that user whose command line matches."""
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            pid = int(entry.name)
            if owner(pid) == uid and matches(command_line(pid)) and alive(pid):
                yield pid


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may just have gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def wait_until(condition: Callable[[], bool], timeout_s: float, pause_s: float = 0.02) -> bool:
    """Wait for a condition; False when it has not come true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause_s)
    return True


def kill_all(uid: int, is_ours: Callable[[list[str]], bool], timeout_s: float = 10.0) -> bool:
    """Kill a user's processes that `is_ours` knows by their arguments; False when one is left after that time."""

    def gone() -> bool:
        left = list(find_all(uid, is_ours))
        for pid in left:
            send(pid, signal.SIGKILL)
        return not left

    return wait_until(gone, timeout_s)


def free_port(host: str, wanted: int = 0) -> int:
    """That port of `host` when it is free, another one otherwise."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            free: int = probe.getsockname()[1]
            return free
    raise UnavailableError(f"No free port on {host} for an embedded server.")


class Account:
    """The system user that a server runs as, and the one capability it may need to reach its files.

    A capability is used only where the user cannot get through to a folder: changing the modes of folders
    above the data directory would open them to every user.
    """

    def __init__(self, uid: int, gid: int, capability: str | None = None) -> None:
        self.uid, self.gid, self.capability = uid, gid, capability

    def popen(self, argv: Sequence[str | Path], **options: Any) -> "subprocess.Popen[bytes]":
        """Start a program as this user."""
        if self.capability:
            argv = self._with_capability(argv)
        elif self.uid != os.geteuid():
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        environment = {"PATH": CLEAN_PATH, "LC_ALL": "C", **options.pop("env", {})}
        return subprocess.Popen([str(a) for a in argv], env=environment, cwd="/", **options)

    def run(self, argv: Sequence[str | Path], *, text: str | None = None) -> tuple[int, str]:
        """Run a program to its end; its exit status and output."""
        pipe = subprocess.PIPE
        process = self.popen(argv, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)
        output, _ = process.communicate((text or "").encode())
        return process.returncode, output.decode(errors="replace").strip()

    def can(self, argv: Sequence[str | Path]) -> bool:
        """True when the program ends well as this user."""
        try:
            return self.run(argv)[0] == 0
        except PermissionError:
            return False

    def _with_capability(self, argv: Sequence[str | Path]) -> list[str | Path]:
        setpriv = shutil.which("setpriv", path=CLEAN_PATH)
        if setpriv is None:
            raise PermissionError("setpriv (util-linux) is not installed")
        return [
            # PostgreSQL asks access(2) whether it finds its own programs; without this bit that ignores capabilities.
            setpriv, "--securebits=+no_setuid_fixup", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups",
            f"--inh-caps=+{self.capability}", f"--ambient-caps=+{self.capability}", "--", *argv,
        ]  # fmt: skip
