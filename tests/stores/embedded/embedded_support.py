"""What the tests of the embedded servers share."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from seedcore.settings import Settings, load_settings
from seedcore.stores.embedded.os_processes import alive

HOLDER = Path(__file__).with_name("embedded_holder.py")
DEADLINE_S = 60.0


class Holder:
    """A process of its own that holds a lease."""

    def __init__(self, kind: str, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HOLDER), kind, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def told(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the holder ended with {self.process.wait()}"
        return json.loads(line)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(DEADLINE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@contextmanager
def holders(kind: str, data_dir: Path, count: int) -> Iterator[list[Holder]]:
    """That many holders, started at once, gone at the end; so are the servers."""
    made = [Holder(kind, data_dir) for _ in range(count)]
    try:
        yield made
    finally:
        for holder in made:
            holder.close()
        stop_all(data_dir)


def stop_all(data_dir: Path) -> None:
    """Stop a server that nobody holds, without waiting for its grace to end."""
    for pid in supervisors_of(data_dir):
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not processes_of(data_dir), "everything to stop")
    shutil.rmtree(settings_for(data_dir).runtime_dir, ignore_errors=True)


def settings_for(data_dir: Path) -> Settings:
    return load_settings(data_dir=data_dir)


def processes_of(data_dir: Path) -> list[int]:
    """Supervisors and servers whose command line names the data directory (backends do not, their parent does)."""
    servers = [
        pid
        for pid, command in _commands()
        if any(f"{data_dir}/" in part for part in command[1:]) and str(HOLDER) not in command
    ]
    return supervisors_of(data_dir) + servers


def supervisors_of(data_dir: Path) -> list[int]:
    module = "seedcore.stores.embedded.supervisor"
    return [pid for pid, command in _commands() if module in command and str(data_dir) in command]


def _commands() -> Iterator[tuple[int, list[str]]]:
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except psutil.Error:
            # It has gone meanwhile.
            continue
        if process.pid != os.getpid():
            yield process.pid, command


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not alive(pid), f"{pid} to die")


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain for {what}"
        time.sleep(0.05)
