"""`python -m benchmarks.organism [--parts agents calls] [--rounds 5] [--json]`: the organism's figures.

Each part has an embedded PostgreSQL of its own in a temporary folder. Exit status 0: every target is met.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.organism import agents, calls, state
from benchmarks.organism.figures import Figure, Part
from seedcore.settings import load_settings
from seedcore.stores.embedded import embedded_postgres
from seedcore.stores.migrate import migrate
from seedcore.telemetry.logs import configure_logs

PARTS: dict[str, Part] = {"agents": agents.measure, "calls": calls.measure, "state": state.measure}


def main() -> int:
    """Measure the parts one after the other, and print a table or JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.organism", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    figures = [figure for name in given.parts for figure in run(PARTS[name], given.rounds)]
    if given.json:
        print(json.dumps([figure.as_json() for figure in figures], indent=1))
    else:
        show(Console(), figures)
    return 0 if all(figure.met for figure in figures) else 1


def run(part: Part, rounds: int) -> list[Figure]:
    """Measure one part on a database of its own."""
    with tempfile.TemporaryDirectory(prefix="scb", dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server_settings = load_settings(data_dir=Path(folder) / "data")
        configure_logs(server_settings)
        server = embedded_postgres(server_settings)
        settings = load_settings(data_dir=server_settings.data_dir, pg_dsn=server.acquire())
        try:
            migrate(settings)
            return part(settings, rounds)
        finally:
            server.release()


def show(console: Console, figures: list[Figure]) -> None:
    """A line a figure."""
    table = Table("figure", "median", "rounds", "target", "met")
    for f in figures:
        rounds = " ".join(f"{value:,.4g}" for value in f.rounds)
        bound = f"{'at least' if f.at_least else 'at most'} {f.target:,.0f} {f.unit}"
        table.add_row(f.name, f"{f.value:,.4g} {f.unit}", rounds, bound, "yes" if f.met else "NO")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
