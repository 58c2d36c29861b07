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

from benchmarks.queue import report
from seedcore.settings import load_settings
from seedcore.stores.embedded import embedded_postgres

PEERS = {"engine": "seedcore", "pgqueuer": "pgqueuer", "awa": "awa", "procrastinate": "procrastinate"}
PARTS = ("drain", "latency", "held", "history", "idle")
# Jobs a second, and how many in one submit.
OPEN_LOOPS = ((1000, 1), (10_000, 50))


def main() -> int:
    """Measure; 0 when everything that was asked for gave a result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queue", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--jobs", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--backlog", type=int, default=1_000_000)
    parser.add_argument("--history", type=int, default=5_000_000)
    parser.add_argument("--dsn", help="a PostgreSQL to fill (default: an embedded one of its own)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    present = [name for name in options.peers if importlib.util.find_spec(PEERS[name])]
    for name in sorted(set(options.peers) - set(present)):
        print(f"{name} is not installed (pip install -e '.[bench]'): left out", file=sys.stderr)
    folder = Path(tempfile.mkdtemp(prefix="scq"))
    server = embedded_postgres(load_settings(data_dir=folder / "data"))
    try:
        results = _measure(options.dsn or server.acquire(), options, present)
    finally:
        server.release()
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        for table in report.tables(results):
            Console().print(table)
    return 0


def _measure(dsn: str, options: argparse.Namespace, peers: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "drain" in options.parts:
        found["drain"] = [r for jobs in options.jobs for r in _drains(dsn, jobs, options.rounds, peers)]
    if "latency" in options.parts:
        two = [name for name in ("engine", "pgqueuer") if name in peers]
        found["latency"] = [r for loop in OPEN_LOOPS for r in _latencies(dsn, *loop, options.rounds, two)]
    if "held" in options.parts:
        found["held"] = [_child("long", dsn, "--what", "held") for _ in range(3)]
    if "history" in options.parts:
        sizes = ("--backlog", str(options.backlog), "--history", str(options.history))
        found["history"] = _child("long", dsn, "--what", "history", *sizes)
    if "idle" in options.parts:
        found["idle"] = _child("idle", dsn)
    return found


def _child(module: str, dsn: str, *arguments: str) -> dict[str, Any]:
    """One measurement in a process of its own."""
    print(f"{module} {' '.join(arguments)}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", f"benchmarks.queue.{module}", "--server", dsn, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    if done.returncode != 0:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _drains(dsn: str, jobs: int, rounds: int, peers: list[str]) -> list[dict[str, Any]]:
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in peers}
    for n in range(rounds):
        for name in peers:
            if name == "procrastinate" and (jobs > 10_000 or n > 0):
                continue  # a thousand jobs a second: one run of the small size tells enough
            runs[name].append(_child(name, dsn, "--jobs", str(jobs)))
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


def _latencies(dsn: str, rate: int, group: int, rounds: int, peers: list[str]) -> list[dict[str, Any]]:
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name in peers:
            runs[name].append(_child("latency", dsn, "--peer", name, "--rate", str(rate), "--group", str(group)))
    kept = ("p50_ms", "p99_ms", "max_ms", "missing")
    return [
        {
            "peer": name,
            "rate": rate,
            "group": group,
            **{key: round(statistics.median(run[key] for run in found), 2) for key in kept},
            "p99s_ms": [round(run["p99_ms"], 1) for run in found],
        }
        for name, found in runs.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
