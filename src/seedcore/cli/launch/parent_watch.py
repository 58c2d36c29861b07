"""Watches the `make` that started `seedcore run`: make does not pass a signal on, and does not report its own end."""

import os
import signal
from pathlib import Path

_PROC = Path("/proc")


class ParentMake:
    """The `make` that started this process.

    On SIGINT, GNU make restores the signal's default action and waits for its recipe, assuming that the
    terminal has signalled the recipe as well. `kill -INT` does not; but make no longer catching SIGINT shows it.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid

    @classmethod
    def find(cls) -> "ParentMake | None":
        """This process's parent, when it is a make that catches SIGINT."""
        pid = os.getppid()
        return cls(pid) if _name(pid) in ("make", "gmake") and _catches(pid, signal.SIGINT) else None

    def wants_to_stop(self) -> bool:
        """True once make was interrupted, or has gone."""
        return os.getppid() != self._pid or not _catches(self._pid, signal.SIGINT)


def _name(pid: int) -> str:
    try:
        return (_PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def _catches(pid: int, number: signal.Signals) -> bool:
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return False
    mask = next((line.split()[1] for line in lines if line.startswith("SigCgt:")), "0")
    return bool(int(mask, 16) >> (number - 1) & 1)
