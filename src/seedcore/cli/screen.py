"""What the person at the terminal sees."""

import sys
from collections.abc import Sequence

from seedcore.cli.serve_config import Application
from seedcore.settings import Settings


def say(text: str) -> None:
    """One line of progress."""
    print(text, flush=True)


def complain(text: str) -> None:
    """What went wrong."""
    print(f"seedcore: {text}", file=sys.stderr, flush=True)


def announce(settings: Settings, url: str, applications: Sequence[Application], seconds: float) -> None:
    """The line that says that work is taken, and where everything is."""
    say(f"SeedCore is ready: {url}")
    rows = [("tasks", f"{url}/api/v1/tasks")]
    rows += [(application.name, f"{url}{application.route_prefix.rstrip('/')}/docs") for application in applications]
    rows += [("logs", str(settings.data_dir / "logs"))]
    for name, place in rows:
        say(f"  {name:<12} {place}")
    say(f"Started in {seconds:.1f} s. Ctrl-C stops it.")
