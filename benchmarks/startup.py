"""Cold start and memory: `python -m benchmarks.startup [--runs 5] [--cpu SHARE] [--json]`.

From `make run` (already installed, a fresh data directory each time) to the first task completed through HTTP and to
the ready line; the latency of the demo's tasks right after that line, and once more; and the proportional set size of
all its processes together. With `--cpu 0.5` all of it has half a core: a start on a busy machine.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from benchmarks.quota import cpu_share

ROOT = Path(__file__).parents[1]
DEADLINE_S = 900.0
POLL_S = 0.05
SETTLE_S = 5.0


def main() -> int:
    """Measure, print a table (or JSON), and write nothing elsewhere."""
    options = _options()
    runs = [measure(options.command, options.cpu) for _ in range(options.runs)]
    report = {
        "cold_start_s": round(statistics.median(run["first_task_s"] for run in runs), 2),
        "ready_line_s": round(statistics.median(run["ready_s"] for run in runs), 2),
        "demo_p99_ms": round(statistics.median(run["demo_p99_ms"] for run in runs)),
        "pss_mb": round(statistics.median(run["pss_mb"] for run in runs)),
        "processes": max(run["processes"] for run in runs),
        "stop_s": round(statistics.median(run["stop_s"] for run in runs), 2),
        "cores": len(os.sched_getaffinity(0)),
        "runs": runs,
    }
    print(json.dumps(report, indent=2) if options.json else _table(report))
    return 0


def measure(command: list[str], cpu: float | None = None) -> dict[str, Any]:
    """One start from nothing; all of it has ended when this returns."""
    with tempfile.TemporaryDirectory(prefix="scb", dir="/var/tmp") as folder, cpu_share(cpu) as limit:
        Path(folder).chmod(0o711)
        port = _free_port()
        environment = os.environ | {"SEEDCORE_DATA_DIR": f"{folder}/data", "SEEDCORE_HTTP_PORT": str(port)}
        busy = _busy_s()
        began = time.monotonic()
        with (Path(folder) / "output").open("w+") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=limit,
            )
            try:
                first_task_s = _first_task(f"http://127.0.0.1:{port}/api/v1/tasks", process, began)
                work_s = _busy_s() - busy
                ready_s = _ready_line(Path(folder) / "output", process, began)
                first, again = _demo(port), _demo(port)
                time.sleep(SETTLE_S)
                members = _tree(process.pid)
                pss_mb = sum(map(_pss_kb, members)) / 1024
            except Exception:
                sys.stderr.write((Path(folder) / "output").read_text())
                raise
            finally:
                stopping = time.monotonic()
                _stop(process)
                stop_s = time.monotonic() - stopping
    return {
        "first_task_s": round(first_task_s, 2),
        "ready_s": round(ready_s, 2),
        "demo_p50_ms": first["p50_ms"],
        "demo_p99_ms": first["p99_ms"],
        "demo_training_s": round(first["training_time_s"], 3),
        "again_p50_ms": again["p50_ms"],
        "again_p99_ms": again["p99_ms"],
        "pss_mb": round(pss_mb, 1),
        "processes": len(members),
        "stop_s": round(stop_s, 2),
        "machine_cpu_s": round(work_s, 1),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--cpu", type=float, help="share of one core that SeedCore has; as root (default: all there is)"
    )
    parser.add_argument(
        "--command", type=str.split, default=["make", "run"], help="what to start instead of `make run`, in one word"
    )
    return parser.parse_args()


def _demo(port: int) -> dict[str, Any]:
    """What the demo measures: 171 tasks that ask a model, submitted at once."""
    command = [sys.executable, "-m", "examples.demo", "--json", "--base-url", f"http://127.0.0.1:{port}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


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


def _ready_line(output: Path, process: "subprocess.Popen[bytes]", began: float) -> float:
    while time.monotonic() - began < DEADLINE_S:
        if "\nSeedCore is ready" in output.read_text():
            return time.monotonic() - began
        if process.poll() is not None:
            raise RuntimeError(f"it ended with exit status {process.returncode}")
        time.sleep(POLL_S)
    raise TimeoutError("the ready line did not come")


def _tree(pid: int) -> list[int]:
    """All of it: the launcher adopts whatever loses its parent, the embedded PostgreSQL included."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _busy_s() -> float:
    """CPU seconds that the whole machine has spent."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    # As Ctrl-C does: to make and to the launcher. Its children are in sessions of their own.
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    process.wait(60)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _table(report: dict[str, Any]) -> str:
    lines = [
        f"{'run':>6} {'first task s':>13} {'ready s':>9} {'demo p99 ms':>12} {'again':>7} {'PSS MB':>8} "
        f"{'processes':>10} {'stop s':>7} {'CPU s':>7}"
    ]
    for number, run in enumerate(report["runs"], 1):
        lines.append(
            f"{number:>6} {run['first_task_s']:>13.2f} {run['ready_s']:>9.2f} {run['demo_p99_ms']:>12.0f} "
            f"{run['again_p99_ms']:>7.0f} {run['pss_mb']:>8.0f} {run['processes']:>10} {run['stop_s']:>7.2f} "
            f"{run['machine_cpu_s']:>7.1f}"
        )
    lines.append(
        f"{number:>6} {run['first_task_s']:>13.2f} {run['ready_s']:>9.2f} {run['demo_p99_ms']:>12.0f} "
        f"{run['again_p99_ms']:>7.0f} {run['pss_mb']:>8.0f} {run['processes']:>10} {run['stop_s']:>7.2f} "
        f"{run['machine_cpu_s']:>7.1f}"
    )
    lines.append(
        f"median {report['cold_start_s']:>13.2f} {report['ready_line_s']:>9.2f} {report['demo_p99_ms']:>12} "
        f"{'':>7} {report['pss_mb']:>8} "
        f"{report['processes']:>10} {report['stop_s']:>7.2f}    on {report['cores']} cores"
    )
    lines.append("targets: first task at most 30 s on 2 cores, the demo's p99 below 1000 ms, PSS at most 2560 MB")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
