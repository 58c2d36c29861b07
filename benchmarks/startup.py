"""Cold start, memory and idling: `python -m benchmarks.startup [--runs 5] [--cpu SHARE] [--json]`.

From `make run` (already installed, a fresh data directory each time) to the first task completed through HTTP and to
the ready line; the latency of the demo's tasks right after that line, and once more; the processor time until that
line, the proportional set size of all its processes together, and the processors that they use while nothing comes.
In turns with it, seven empty Serve applications under the same options of Ray and HAProxy: what the machine and Ray
cost on this day. With `--cpu 0.5` all of it has half a core: a start on a busy machine.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import cpu
from benchmarks.empty_serve.__main__ import READY as EMPTY_READY
from benchmarks.quota import cpu_share
from benchmarks.system import READY, ROOT, demo, free_port

DEADLINE_S = 900.0
POLL_S = 0.05
SETTLE_S = 5.0
COMPARED = ("ready_s", "cpu_s", "pss_mb", "processes", "idle_processors", "stop_s")
"""Figures that both have."""

WANTED_RATIO, WANTED_IDLE = 1.3, 0.1
AIMS = {"ready_s": 15.0, "cpu_s": 25.0, "pss_mb": 1500.0, "idle_processors": 0.15}


@dataclass(frozen=True, slots=True)
class Started:
    """What is started, and the line that says that it is ready. `whole`: the command's own process counts, too."""

    command: list[str]
    ready: str
    whole: bool


EMPTY = Started([sys.executable, "-m", "benchmarks.empty_serve"], EMPTY_READY, whole=False)


def main() -> int:
    """Measure, print a table (or JSON), and write nothing elsewhere."""
    options = _options()
    ours, empty = [], []
    for number in range(options.runs):
        _say(f"run {number + 1}: SeedCore")
        ours.append(measure(Started(options.command, READY, whole=True), options.cpu, options.idle))
        if not options.alone:
            _say(f"run {number + 1}: seven empty applications")
            empty.append(measure(EMPTY, options.cpu, options.idle))
    report: dict[str, Any] = {
        "cold_start_s": _median(ours, "first_task_s"),
        "demo_p99_ms": _median(ours, "demo_p99_ms"),
        **{name: _median(ours, name) for name in COMPARED},
        "cores": len(os.sched_getaffinity(0)),
        "runs": ours,
    }
    if empty:
        report["empty"] = {name: _median(empty, name) for name in COMPARED} | {"runs": empty}
        report["figures"] = compare(report, report["empty"])
    print(json.dumps(report, indent=2) if options.json else _table(report))
    return 0


def compare(ours: dict[str, Any], empty: dict[str, Any]) -> list[dict[str, Any]]:
    """What is wanted of a start is a multiple of the empty applications', of idling a difference."""
    rows = []
    for name in COMPARED:
        value, other = ours[name], empty[name]
        row = {"what": name, "seedcore": value, "empty": other, "ratio": round(value / other, 2) if other else None}
        if name in AIMS:
            bound = other + WANTED_IDLE if name == "idle_processors" else other * WANTED_RATIO
            row |= {"wanted": round(bound, 3), "met": value <= bound, "aim": AIMS[name], "aim_met": value <= AIMS[name]}
        rows.append(row)
    return rows


def measure(started: Started, share: float | None = None, idle_s: float = 30.0) -> dict[str, Any]:
    """One start from nothing; all of it has ended when this returns."""
    with tempfile.TemporaryDirectory(prefix="scb", dir="/var/tmp") as folder, cpu_share(share) as limit:
        Path(folder).chmod(0o711)
        port = free_port()
        environment = os.environ | {"SEEDCORE_DATA_DIR": f"{folder}/data", "SEEDCORE_HTTP_PORT": str(port)}
        began = time.monotonic()
        with (Path(folder) / "output").open("w+") as output:
            process = subprocess.Popen(
                started.command,
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=limit,
            )
            try:
                found = _follow(started, process, f"http://127.0.0.1:{port}", Path(folder) / "output", began)
                time.sleep(SETTLE_S)
                found |= _at_rest(process.pid, started.whole, idle_s)
            except Exception:
                sys.stderr.write((Path(folder) / "output").read_text())
                raise
            finally:
                stopping = time.monotonic()
                _stop(process)
                stop_s = time.monotonic() - stopping
    return found | {"stop_s": round(stop_s, 2)}


def _follow(
    started: Started, process: "subprocess.Popen[bytes]", url: str, output: Path, began: float
) -> dict[str, Any]:
    """From the start to the ready line; of SeedCore also the first task, and the demo twice."""
    found: dict[str, Any] = {}
    if started.whole:
        found["first_task_s"] = round(_first_task(f"{url}/api/v1/tasks", process, began), 2)
    found["ready_s"] = round(_ready_line(started.ready, output, process, began), 2)
    found["cpu_s"] = round(cpu.read(_tree(process.pid, started.whole)).seconds, 1)
    if started.whole:
        first, again = demo(url), demo(url)
        found |= {"demo_p50_ms": first["p50_ms"], "demo_p99_ms": first["p99_ms"]}
        found |= {"again_p50_ms": again["p50_ms"], "again_p99_ms": again["p99_ms"]}
        found["demo_training_s"] = round(first["training_time_s"], 3)
    return found


def _at_rest(pid: int, whole: bool, idle_s: float) -> dict[str, Any]:
    """Memory, processes, and the processors that they use while nothing comes, by kind."""
    members = _tree(pid, whole)
    pss_mb = sum(_pss_kb(member.pid) for member in members) / 1024
    before, began = cpu.read(_tree(pid, whole)), time.monotonic()
    time.sleep(idle_s)
    after, took = cpu.read(_tree(pid, whole)), time.monotonic() - began
    groups = {name: round(used / took, 4) for name, used in cpu.between(before, after).most_common()}
    return {
        "pss_mb": round(pss_mb, 1),
        "processes": len(members),
        "idle_processors": round(sum(groups.values()), 3),
        "idle_groups": groups,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--idle", type=float, default=30.0, metavar="S", help="how long to watch each while it idles")
    parser.add_argument("--alone", action="store_true", help="SeedCore only, without the empty applications")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--cpu", type=float, help="share of one core that each of them has; as root (default: all there is)"
    )
    parser.add_argument(
        "--command", type=str.split, default=["make", "run"], help="what to start instead of `make run`, in one word"
    )
    return parser.parse_args()


def _first_task(url: str, process: "subprocess.Popen[bytes]", began: float) -> float:
    """Submit as soon as the gateway takes it, and poll until it is completed: what a waiting client would see."""
    body = json.dumps({"type": "echo", "params": {"value": "first"}}).encode()
    task: dict[str, Any] | None = None
    while time.monotonic() - began < DEADLINE_S:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with exit status {process.returncode}")
        task = _call(url, body) if task is None else _call(f"{url}/{task['id']}")
        if task is not None and task["status"] == "completed":
            return time.monotonic() - began
        time.sleep(POLL_S)
    raise TimeoutError(f"no task completed within {DEADLINE_S:g} s; the last answer was {task}")


def _call(url: str, body: bytes | None = None) -> dict[str, Any] | None:
    """The JSON answer; None while it does not answer well."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": "first"} if body else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=2) as answer:
            document: dict[str, Any] = json.load(answer)
            return document
    except OSError:
        return None


def _ready_line(line: str, output: Path, process: "subprocess.Popen[bytes]", began: float) -> float:
    while time.monotonic() - began < DEADLINE_S:
        if f"\n{line}" in output.read_text():
            return time.monotonic() - began
        if process.poll() is not None:
            raise RuntimeError(f"it ended with exit status {process.returncode}")
        time.sleep(POLL_S)
    raise TimeoutError("the ready line did not come")


def _tree(pid: int, whole: bool) -> list[psutil.Process]:
    """All of it: the first process adopts whatever loses its parent, the embedded PostgreSQL included."""
    root = psutil.Process(pid)
    return [*([root] if whole else []), *root.children(recursive=True)]


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    # As Ctrl-C does: to make and to the launcher. Its children are in sessions of their own.
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    process.wait(60)


def _median(runs: list[dict[str, Any]], name: str) -> float:
    return round(statistics.median(run[name] for run in runs), 3)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _table(report: dict[str, Any]) -> str:
    lines = [
        f"{'run':>6} {'first task s':>13} {'ready s':>9} {'demo p99 ms':>12} {'again':>7} {'PSS MB':>8} "
        f"{'processes':>10} {'stop s':>7} {'CPU s':>7} {'idle':>6}"
    ]
    for name, runs in (("", report["runs"]), ("empty ", report.get("empty", {}).get("runs", []))):
        for number, run in enumerate(runs, 1):
            told = [run.get(key, float("nan")) for key in ("first_task_s", "demo_p99_ms", "again_p99_ms")]
            lines.append(
                f"{f'{name}{number}':>6} {told[0]:>13.2f} {run['ready_s']:>9.2f} {told[1]:>12.0f} {told[2]:>7.0f} "
                f"{run['pss_mb']:>8.0f} {run['processes']:>10} {run['stop_s']:>7.2f} {run['cpu_s']:>7.1f} "
                f"{run['idle_processors']:>6.3f}"
            )
    lines.append(
        f"median {report['cold_start_s']:>13.2f} {report['ready_s']:>9.2f} {report['demo_p99_ms']:>12.0f} "
        f"{'':>7} {report['pss_mb']:>8.0f} {report['processes']:>10.0f} {report['stop_s']:>7.2f} "
        f"{report['cpu_s']:>7.1f} {report['idle_processors']:>6.3f}  on {report['cores']} cores"
    )
    for row in report.get("figures", []):
        bound = f", wanted {row['wanted']:g} ({'met' if row['met'] else 'MISSED'})" if "wanted" in row else ""
        aim = f", aim {row['aim']:g} ({'met' if row['aim_met'] else 'missed'})" if "aim" in row else ""
        ratio = "" if row["ratio"] is None else f", {row['ratio']:g} times"
        lines.append(f"{row['what']:>16}: {row['seedcore']:g}, empty {row['empty']:g}{ratio}{bound}{aim}")
    lines.append(f"the demo's p99 right after the ready line: wanted 500 ms, measured {report['demo_p99_ms']:.0f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
