"""Runs SeedCore in the background: `seedcore run` without a terminal, which outlives the command that started it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from seedcore.cli.launch.child_processes import kill_all
from seedcore.errors import SeedCoreError
from seedcore.settings import Settings
from seedcore.stores.embedded.lock_files import ServerFiles

READY = "SeedCore is ready"
POLL_S = 0.1
STOP_S = 45.0
"""Longer than an orderly shutdown takes; what is left then is killed."""


class BackgroundError(SeedCoreError, code="start_failed", title="Start failed"):
    """SeedCore in the background did not start, or did not end."""


@dataclass(frozen=True, slots=True)
class Background:
    """A launcher that was started here; `began` tells it from a later process with the same pid."""

    pid: int
    began: float
    log: Path

    def process(self) -> psutil.Process | None:
        """The launcher, while it runs."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.began) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except psutil.NoSuchProcess:
            pass
        return None


def started(settings: Settings) -> Background | None:
    """The launcher that `start` has started with this data directory, while it runs."""
    try:
        found = json.loads(_record(settings).read_text())
        background = Background(found["pid"], found["began"], Path(found["log"]))
    except (OSError, ValueError, KeyError):
        return None
    return background if background.process() is not None else None


def start(settings: Settings, say: Callable[[str], None]) -> Background:
    """Start SeedCore and wait until it is ready; passes its output to `say`. When interrupted, stop it again.

    Raises:
        BackgroundError: it ended before it was ready.
    """
    ServerFiles(settings.data_dir, "postgres").make()
    log = settings.data_dir / "logs" / "run.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "seedcore.cli.main", "run"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    background = Background(child.pid, psutil.Process(child.pid).create_time(), log)
    _record(settings).write_text(json.dumps({"pid": child.pid, "began": background.began, "log": str(log)}))
    try:
        _until_ready(child, log, say)
    except BaseException:
        stop(settings)
        raise
    return background


def stop(settings: Settings) -> bool:
    """Stop what `start` has started, and nothing else; False when nothing runs.

    Raises:
        BackgroundError: it does not end.
    """
    background = started(settings)
    process = background.process() if background is not None else None
    if process is not None:
        _end(process)
    _record(settings).unlink(missing_ok=True)
    return process is not None


def _until_ready(child: "subprocess.Popen[bytes]", log: Path, say: Callable[[str], None]) -> None:
    """Wait without a time limit: the launcher has one for the whole start."""
    with log.open(errors="replace") as output:
        text = ""
        while True:
            ended = child.poll() is not None
            text += output.read()
            *lines, text = text.split("\n")
            for line in lines:
                say(line)
                if line.startswith(READY):
                    return
            if ended:
                raise BackgroundError(f"SeedCore ended with exit status {child.returncode} before it was ready.")
            time.sleep(POLL_S)


def _end(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        below = process.children(recursive=True)
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline:
            if process.status() == psutil.STATUS_ZOMBIE:
                # It has ended. Where another process is its parent, that one waits for it.
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(process.pid, 0)
                return
            time.sleep(POLL_S)
        kill_all([process, *below])
        raise BackgroundError(f"SeedCore (pid {process.pid}) did not end within {STOP_S:g} s and was killed.")


def _record(settings: Settings) -> Path:
    return settings.data_dir / "run" / "background.json"
