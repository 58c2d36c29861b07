"""ChildProcess processes that never outlive the launcher, however it ends (Linux)."""

import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from seedcore.stores.embedded.lock_files import tail
from seedcore.telemetry.logs import mask

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies, so that none is missed at the end."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def descendants() -> list[psutil.Process]:
    """Every process below this one that is not a zombie."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def reap_orphans(known: set[int]) -> None:
    """Collect the exit status of adopted processes; those in `known` are waited for elsewhere."""
    for process in psutil.Process().children():
        try:
            if process.pid not in known and process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, os.WNOHANG)
        except (psutil.NoSuchProcess, ChildProcessError):
            continue


class ChildProcess:
    """A program in a process group of its own: Ctrl-C reaches only the launcher, which decides the order of the end.

    The kernel sends it `at_parents_end` when the thread that started it dies, so start it from the main thread.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        at_parents_end: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self.log = log
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        assert threading.current_thread() is threading.main_thread()
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid(), at_parents_end),
            )

    @property
    def pid(self) -> int:
        """Its process id, also the id of its group."""
        return self.process.pid

    def poll(self) -> int | None:
        """Exit status; None while it runs."""
        return self.process.poll()

    def send(self, number: signal.Signals) -> None:
        """Signal the process alone."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def log_tail(self, lines: int = 15) -> str:
        """The end of its log, secrets masked."""
        return mask(tail(self.log, lines).replace(" | ", "\n"))


def _die_with(parent: int, number: signal.Signals) -> Callable[[], None]:
    def apply() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return apply


def kill_all(processes: Sequence[psutil.Process]) -> None:
    """SIGKILL; psutil refuses when a pid belongs to another process by now."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
