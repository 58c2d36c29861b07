"""`python -m benchmarks.routing [--parts loads same …] [--plots docs] [--json FILE]`: what energy gains, and where not.

A simulation with fixed seeds (see `simulate`), the time that routing takes, and with `--parts live` a running SeedCore
beside Ray Serve. Exit status 0: every target is met.
"""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table as Shown

from benchmarks.routing import live, speed
from benchmarks.routing.herding import herding
from benchmarks.routing.parts import PARTS as ROUTERS
from benchmarks.routing.parts import Bench, Table
from benchmarks.routing.plots import plot
from benchmarks.routing.targets import checks

PARTS = {**ROUTERS, "herding": herding}


def main() -> int:
    """Measure, print, plot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=[*PARTS, "speed", "live"], default=[*PARTS, "speed"])
    parser.add_argument("--instances", type=int, default=8)
    parser.add_argument("--tasks", type=int, default=20_000, help="of each simulation; the first 60 %% warm up")
    parser.add_argument("--plots", type=Path, help="folder for the plots")
    parser.add_argument("--json", type=Path, help="file for the tables; tables of other parts in it are kept")
    given = parser.parse_args()
    tables = _measure(given)
    if given.json:
        tables = _keep(given.json, tables)
    console = Console(width=130)
    for table in tables:
        show(console, table)
    wanted = checks(tables)
    for what, value, bound, met in wanted:
        console.print(f"{'met   ' if met else 'MISSED'} {what}: {value:.3f} (at most {bound:g})")
    if given.plots:
        console.print(*[f"written: {path}" for path in plot(tables, given.plots)], sep="\n")
    return 0 if all(met for *_, met in wanted) else 1


def _measure(given: argparse.Namespace) -> list[Table]:
    bench = Bench(given.instances, given.tasks)
    tables: list[Table] = []
    try:
        for name, part in PARTS.items():
            if name in given.parts:
                tables += part(bench)
    finally:
        bench.close()
    if "speed" in given.parts:
        tables.append(speed.measure())
    if "live" in given.parts:
        tables += live.measure()
    return tables


def _keep(path: Path, tables: list[Table]) -> list[Table]:
    kept = [Table(**one) for one in json.loads(path.read_text())] if path.exists() else []
    new = {table.name for table in tables}
    tables = [table for table in kept if table.name not in new] + tables
    path.write_text(json.dumps([table.as_json() for table in tables], indent=1))
    return tables


def show(console: Console, table: Table) -> None:
    """A line a router."""
    shown = Shown(table.name, *table.columns, title=table.unit or None)
    for row, values in table.rows.items():
        shown.add_row(row, *[f"{value:.3g}" for value in values])
    console.print(shown)


if __name__ == "__main__":
    sys.exit(main())
