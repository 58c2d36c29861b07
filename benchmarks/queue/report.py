"""The figures of `benchmarks.queue` for people."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table


def tables(results: dict[str, Any]) -> Iterator[Table]:
    """A table for each part that was measured."""
    if "drain" in results:
        yield _drain(results["drain"])
    if "latency" in results:
        yield _latency(results["latency"])
    if "held" in results:
        yield _held(results["held"])
    if "history" in results:
        yield _history(results["history"])
    if "idle" in results:
        shown = Table(title="Idle", show_header=False)
        shown.add_row("3 dispatchers and the reaper", f"{results['idle']['statements_per_s']} statements a second")
        yield shown


def _columns(title: str, *names: str) -> Table:
    shown = Table(title=title)
    for name in names:
        shown.add_column(name, justify="right")
    return shown


def _drain(rows: list[dict[str, Any]]) -> Table:
    base = {r["jobs"]: r["jobs_per_s"] for r in rows if r["peer"] == "pgqueuer"}
    names = ("jobs", "peer", "jobs/s", "low", "high", "runs", "ratio", "insert/s", "WAL B")
    shown = _columns("Drain of no-op jobs, one process, to durable completion (medians; ratio to PgQueuer)", *names)
    for r in rows:
        ratio = f"{r['jobs_per_s'] / base[r['jobs']]:.2f}" if r["jobs"] in base else "-"
        rates = [f"{r[key]:,.0f}" for key in ("jobs_per_s", "lowest", "highest")]
        last = [f"{r[key]:,.0f}" for key in ("insert_per_s", "wal_bytes_per_job")]
        shown.add_row(f"{r['jobs']:,}", r["peer"], *rates, str(r["runs"]), ratio, *last)
    return shown


def _latency(rows: list[dict[str, Any]]) -> Table:
    names = ("jobs/s", "a submit", "peer", "p50 ms", "p99 ms", "max ms", "missing", "p99 of each run")
    shown = _columns("Start latency, open loop (medians of the runs)", *names)
    for r in rows:
        values = [str(r[key]) for key in ("p50_ms", "p99_ms", "max_ms", "missing")]
        shown.add_row(f"{r['rate']:,}", str(r["group"]), r["peer"], *values, ", ".join(map(str, r["p99s_ms"])))
    return shown


def _held(runs: list[dict[str, Any]]) -> Table:
    shown = _columns(
        "A transaction open for 12 rounds of 10,000", "run", "jobs/s of each round", "last/first", "thirds"
    )
    for n, run in enumerate(runs, 1):
        rates = " ".join(f"{rate / 1000:.1f}k" for rate in run["rates"])
        shown.add_row(str(n), rates, str(run["last_to_first"]), str(run["thirds"]))
    return shown


def _history(result: dict[str, Any]) -> Table:
    title = f"Drains of 100,000: backlog {result['backlog']:,} and history {result['history']:,} against an empty table"
    shown = Table(title=title, show_header=False)
    for name in ("empty", "full"):
        shown.add_row(name, ", ".join(f"{rate:,.0f}" for rate in result[name]))
    shown.add_row("ratio of the medians", str(result["ratio"]))
    return shown
