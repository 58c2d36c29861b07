"""The figures that the whole path is held against, and how they are shown."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table


def percentile(values: list[float], p: int) -> float:
    """The p-th percentile; NaN of nothing."""
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=100, method="inclusive")[p - 1]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One figure: where it stands in the result, its unit, what is wanted and what is aimed at.

    `at_least`: larger is better.
    """

    what: str
    path: tuple[str, ...]
    unit: str
    wanted: float | None
    aim: float | None = None
    at_least: bool = False


WANTED = (
    Wanted("singles at 20/s, p50", ("singles", "20", "p50_ms"), "ms", 15, 10),
    Wanted("singles at 20/s, p99", ("singles", "20", "p99_ms"), "ms", 30),
    Wanted("singles at 100/s, p50", ("singles", "100", "p50_ms"), "ms", 12, 8),
    Wanted("singles at 100/s, p99", ("singles", "100", "p99_ms"), "ms", 40),
    Wanted("singles at 300/s, sustained, p50", ("singles", "300", "p50_ms"), "ms", 30),
    Wanted("processor time a task, all", ("cpu", "ms"), "ms", 10, 7),
    Wanted("  of it Ray's idle share", ("cpu", "ray_idle_ms"), "ms", None),
    Wanted("  without that share", ("cpu", "beside_ray_idle_ms"), "ms", None),
    Wanted("route-and-execute of echo, idle, p50", ("route", "p50_ms"), "ms", 12),
    Wanted("route-and-execute of echo, idle, p99", ("route", "p99_ms"), "ms", None),
    Wanted("drain, times PgQueuer's", ("drain", "ratio"), "", 1.8, at_least=True),
    Wanted("drain", ("drain", "drain_per_s"), "tasks/s", None, 20_000, at_least=True),
    Wanted("200 no-ops beside a 5 s sleeper, the last", ("sleeper", "beside_sleeper_ms"), "ms", 150),
    Wanted("make demo right after the ready line, p99", ("demo", "p99_ms"), "ms", 500),
    Wanted("idle, all processes", ("idle", "processors"), "processors", None, 0.15),
)


def compare(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each figure that was measured, beside what is wanted; `met` is None where nothing is."""
    rows = []
    for one in WANTED:
        value: Any = result
        for key in one.path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is None:
            continue
        met, aimed = (_met(value, bound, one) for bound in (one.wanted, one.aim))
        rows.append(
            {
                "what": one.what.strip(),
                "measured": value,
                "unit": one.unit,
                "wanted": one.wanted,
                "aim": one.aim,
                "met": met,
                "aim_met": aimed,
            }
        )
    return rows


def _met(value: float, bound: float | None, one: Wanted) -> bool | None:
    if bound is None:
        return None
    return value >= bound if one.at_least else value <= bound


def show(console: Console, result: Mapping[str, Any]) -> None:
    """The figures for people."""
    table = Table("figure", "measured", "wanted", "aim", "", title="The whole path")
    for row in result["figures"]:
        verdict = {None: "", True: "met", False: "MISSED"}[row["met"]]
        cells = [_number(row[name], row["unit"]) for name in ("measured", "wanted", "aim")]
        table.add_row(row["what"], *cells, verdict)
    console.print(table)
    for rate, found in result.get("singles", {}).items():
        told = ", ".join(f"p{p} {found[f'p{p}_ms']:g}" for p in (50, 90, 99))
        without = f", without an end {found['without_end']}" if found["without_end"] else ""
        console.print(
            f"{rate}/s: {found['tasks']:,} tasks, {told} ms; the last end {found['last_end_after_s']:g} s after the "
            f"last submit{without}",
            highlight=False,
        )
    if (cpu := result.get("cpu")) is not None:
        console.print(_groups(cpu))
    if (drain := result.get("drain")) is not None:
        console.print(f"drains {drain['drains']}, PgQueuer {drain['pgqueuer']}, submitted {drain['submit_per_s']:,}/s")
    if (idle := result.get("idle")) is not None:
        told = ", ".join(f"{name} {value:.3f}" for name, value in idle["groups"].items())
        console.print(f"idle processors: {told}; others on the machine {idle['other_processors']:g}", highlight=False)


def _groups(cpu: Mapping[str, Any]) -> Table:
    table = Table("processes", "ms a task", "idle share", title=f"Processor time at {cpu['rate']:g} a second")
    for name, used in cpu["groups"].items():
        table.add_row(name, f"{used['ms']:.2f}", f"{used['idle_ms']:.2f}")
    table.add_section()
    table.add_row("all", f"{cpu['ms']:.2f}", f"{cpu['idle_ms']:.2f}")
    table.caption = (
        f"idle share: what the same seconds cost before, by the same tasks. The client ({cpu['client_ms']:.2f} ms a "
        f"task) is not counted; others used {cpu['other_processors']:g} processors meanwhile."
    )
    return table


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.5g} {unit}".strip()
