"""Prints progress, errors and the final summary for the person at the terminal."""

import shutil
import sys
import time
from collections.abc import Sequence
from typing import Self

from seedcore.cli.launch.serve_config import Application
from seedcore.settings import Settings

QUIET_S, REPEAT_S = 5.0, 30.0
"""Without a terminal: a changed line at most this often, the same line again after that."""


def say(text: str) -> None:
    """One line of progress."""
    print(text, flush=True)


class Progress:
    """One line that says what is waited for: in place on a terminal, else a new line on changes and at intervals."""

    def __init__(self) -> None:
        self._in_place = sys.stdout.isatty()
        self._shown, self._at = "", 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._in_place and self._shown:
            print("\r\033[K", end="", flush=True)

    def show(self, text: str) -> None:
        """Show `text`, which begins with the seconds, as far as a line goes."""
        if self._in_place:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{text[:width]}", end="", flush=True)
            self._shown = text
            return
        what = text.partition("waiting")[2]
        if time.monotonic() - self._at > (QUIET_S if what != self._shown else REPEAT_S):
            self._shown, self._at = what, time.monotonic()
            say(text)


def print_error(text: str) -> None:
    """Print an error to standard error."""
    print(f"seedcore: {text}", file=sys.stderr, flush=True)


def announce(settings: Settings, url: str, applications: Sequence[Application], seconds: float) -> None:
    """Print that SeedCore is ready, and where to find its applications and logs."""
    say(f"SeedCore is ready: {url}")
    rows = [("tasks", f"{url}/api/v1/tasks")]
    rows += [(application.name, f"{url}{application.route_prefix.rstrip('/')}/docs") for application in applications]
    rows += [("logs", str(settings.data_dir / "logs"))]
    for name, place in rows:
        say(f"  {name:<12} {place}")
    say(f"Started in {seconds:.1f} s. Ctrl-C stops it.")
