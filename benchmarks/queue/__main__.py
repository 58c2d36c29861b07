"""`python -m benchmarks.queue`: the engine and its peers on one PostgreSQL, a process each, in turns.

The peers come with `pip install -e '.[bench]'`; one that is missing is left out and said so. Each round runs every
peer once, so that what else the machine does falls on all alike; medians and ratios are printed.
"""

import argparse
import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seedcore.settings import load_settings
from seedcore.stores.embedded import embedded_postgres

PEERS = {"engine": "seedcore", "pgqueuer": "pgqueuer", "awa": "awa", "procrastinate": "procrastinate"}


def main() -> int:
    """Measure; 0 when every peer that is installed gave a result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queue", description=__doc__)
    parser.add_argument("--jobs", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--dsn", help="a PostgreSQL to fill (default: an embedded one of its own)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    present = [name for name in options.peers if importlib.util.find_spec(PEERS[name])]
    for name in sorted(set(options.peers) - set(present)):
        print(f"{name} is not installed (pip install -e '.[bench]'): left out", file=sys.stderr)
    folder = Path(tempfile.mkdtemp(prefix="scq"))
    server = embedded_postgres(load_settings(data_dir=folder / "data"))
    try:
        dsn = options.dsn or server.acquire()
        results = [r for jobs in options.jobs for r in _measure(dsn, jobs, options.rounds, present)]
    finally:
        server.release()
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        Console().print(table(results))
    return 0


def _measure(dsn: str, jobs: int, rounds: int, peers: list[str]) -> list[dict[str, Any]]:
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in peers}
    for n in range(rounds):
        for name in peers:
            if name == "procrastinate" and (jobs > 10_000 or n > 0):
                continue  # a thousand jobs a second: one run of the small size tells enough
            print(f"round {n + 1}: {name}, {jobs} jobs", file=sys.stderr, flush=True)
            done = subprocess.run(
                [sys.executable, "-m", f"benchmarks.queue.{name}", "--server", dsn, "--jobs", str(jobs)],
                capture_output=True,
                text=True,
                timeout=900,
            )
            if done.returncode != 0:
                raise RuntimeError(f"{name} failed:\n{done.stderr[-2000:]}")
            runs[name].append(json.loads(done.stdout.strip().splitlines()[-1]))
    return [_summary(found) for found in runs.values() if found]


def _summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    rates = [run["jobs_per_s"] for run in found]
    middle = {key: statistics.median(run[key] for run in found) for key in ("insert_per_s", "wal_bytes_per_job")}
    spread = {"lowest": min(rates), "highest": max(rates), "runs": len(found)}
    return {
        "peer": found[0]["peer"],
        "jobs": found[0]["jobs"],
        "jobs_per_s": statistics.median(rates),
        **spread,
        **middle,
    }


def table(results: list[dict[str, Any]]) -> Table:
    """Medians, and how many times PgQueuer's rate each is."""
    base = {r["jobs"]: r["jobs_per_s"] for r in results if r["peer"] == "pgqueuer"}
    shown = Table(title="Drain of no-op jobs, one process, to durable completion (median)")
    for column in (
        "jobs",
        "peer",
        "jobs/s",
        "lowest to highest",
        "runs",
        "times pgqueuer",
        "insert/s",
        "WAL bytes a job",
    ):
        shown.add_column(column, justify="right")
    for r in results:
        ratio = f"{r['jobs_per_s'] / base[r['jobs']]:.2f}" if r["jobs"] in base else "-"
        shown.add_row(
            f"{r['jobs']:,}",
            r["peer"],
            f"{r['jobs_per_s']:,.0f}",
            f"{r['lowest']:,.0f} to {r['highest']:,.0f}",
            str(r["runs"]),
            ratio,
            f"{r['insert_per_s']:,.0f}",
            f"{r['wal_bytes_per_job']:,.0f}",
        )
    return shown


if __name__ == "__main__":
    sys.exit(main())
