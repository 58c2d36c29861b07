"""`python -m benchmarks.valve [--parts arl0 delay real speed reports live] [--references 100]`: the valve's tables.

Needs the `bench` extra. `--parts thresholds` simulates the table of thresholds anew (`--references` streams a row).
"""

import argparse

from rich.console import Console
from rich.table import Table

from benchmarks.valve import arl0, delay, live, real, reports, speed, thresholds

PARTS = ("arl0", "delay", "real", "speed", "reports", "live", "thresholds")


def main() -> int:
    """Print one table a part."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.valve", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS[:-1]))
    parser.add_argument("--references", type=int, default=100)
    parser.add_argument("--arl0", type=float, default=10_000)
    given = parser.parse_args()
    console = Console(width=140)
    if "arl0" in given.parts:
        heads = ("stream", *(f"reference of {n:,}" for n in arl0.SIZES))
        show(console, f"Achieved ARL₀, {given.arl0:,.0f} asked for", heads, arl0.table(given.references, given.arl0))
    if "delay" in given.parts:
        for n in (500, 2_000):
            achieved, rows = delay.table(given.references, given.arl0, n)
            heads = ("detector", *(f"{shift:g} sd" for shift in delay.SHIFTS))
            show(console, f"Mean delay at ARL₀ {achieved:,.0f}", heads, rows)
    if "real" in given.parts:
        show(console, "Known changes", ("series", "seen", "false alarms"), real.table())
    if "speed" in given.parts:
        show(console, "Cost", ("what", "processor time", ""), speed.table())
    if "reports" in given.parts:
        heads = ("shift", "at once", "by reports", "later, p50", "later, worst", "an interval", "runs")
        show(console, "Tasks to the alarm", heads, reports.delays(given.references, given.arl0))
        come = (f"{n}, as they come" for n in reports.AS_THEY_COME)
        heads = ("stream", "every task at once", *(f"reports of {n}" for n in reports.WORKERS), *come)
        title = f"Observations by false alarm, {given.arl0:,.0f} asked for"
        show(console, title, heads, reports.false_alarms(given.references, given.arl0))
    if "live" in given.parts:
        show(console, "A stream of tasks on a running SeedCore", ("what", "seen", "promised"), live.table())
    if "thresholds" in given.parts:
        heads = ("reference", *(f"{height:g}" for height in thresholds.HEIGHTS))
        show(console, "ARL₀ by height", heads, thresholds.table(given.references))
    return 0


def show(console: Console, title: str, heads: tuple[str, ...], rows: list[list[str]]) -> None:
    """A table with a title."""
    table = Table(*heads, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())
