"""Watches the GCS and the raylet: when one of them ends, nothing restarts it."""

import re
from pathlib import Path

import psutil

from seedcore.utils.ray_address import LocalRay, find_local_rays

GCS = "gcs_server"
# `[2026-01-31 12:00:00,000 C 4711 4711] (raylet) node_manager.cc:120: what went wrong`
_TROUBLE = re.compile(r"^\[[\d-]+ [\d:,]+ (?P<level>[CE]) [\d ]+\] \(\w+\) \S+ +(?P<text>.*)$", re.MULTILINE)


def ray_of(serve_pid: int) -> LocalRay | None:
    """The Ray that this `serve run` has started; None until its raylet runs."""
    below = {process.pid for process in psutil.Process(serve_pid).children(recursive=True)}
    return next((ray for ray in find_local_rays() if ray.pid in below), None)


def fatal_error(root: Path, name: str) -> str | None:
    """The fatal error in the log of a process of the last Ray in the folder `root`, else its last error; None: none."""
    log = root / "ray" / "session_latest" / "logs" / f"{name}.out"
    if not log.is_file():
        return None
    found = {match["level"]: match["text"] for match in _TROUBLE.finditer(log.read_text(errors="replace"))}
    said = found.get("C") or found.get("E")
    if said is None:
        return None
    # Ray puts a request for a bug report before the error.
    return said.rpartition("Check failed: ")[2].strip().rstrip(".")[:300]


class RayProcesses:
    """The GCS and the raylet of a `serve run`."""

    def __init__(self, serve_pid: int) -> None:
        found = psutil.Process(serve_pid).children(recursive=True)
        self._core = [(name, process) for process in found if (name := _name(process)) in (GCS, "raylet")]

    def lost(self) -> str | None:
        """The name of one that has ended; None while both run."""
        return next((name for name, process in self._core if not _runs(process)), None)


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return ""


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
