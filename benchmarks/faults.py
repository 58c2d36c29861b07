"""`python -m benchmarks.faults`: SIGKILL every kind of process in turn while the demo runs.

Each row is one run of the demo (171 held-out patients, each a task) in which every process of one kind is killed as
soon as its first task shows. The demo itself judges: every row answered once, or its exit status is 1. A kind that a
system with the shipped organs does not have (agent hosts, when agents live in workers) is left out and named.
"""

import argparse
import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.system import System

TARGETS: dict[str, tuple[str, ...]] = {
    "agent host": ("ray::AgentHost",),
    # Before workers ran skills themselves, they were dispatchers.
    "worker": ("ray::WorkerActor|ray::DispatcherActor",),
    "reaper": ("ray::ReaperActor",),
    "gateway replica": ("ray::ServeReplica:gateway",),
    "ML replica": ("ray::ServeReplica:ml_service",),
    "Coordinator replica": ("ray::ServeReplica:coordinator",),
    "Organism replica": ("ray::ServeReplica:organism",),
    "State replica": ("ray::ServeReplica:state",),
    "Energy replica": ("ray::ServeReplica:energy",),
    "Cognitive replica": ("ray::ServeReplica:cognitive",),
    "HAProxy": ("bin/haproxy", "-f"),
    "HAProxy's manager": ("ray::HAProxyManager",),
    "Serve controller": ("ray::ServeController",),
    "PostgreSQL": ("bin/postgres", "-D"),
    "PostgreSQL's supervisor": ("seedcore.stores.embedded.supervisor", "postgres"),
}
# After these the system is gone: the next start on the same data finishes every task.
ENDS_ALL: dict[str, tuple[str, ...]] = {
    "GCS": ("gcs_server",),
    "raylet": ("raylet/raylet",),
    "launcher": ("seedcore.cli.main",),
}


@dataclass(slots=True)
class Result:
    """One kill."""

    killed: str
    answered_once: bool
    demo_s: float
    healthy_again_s: float
    retried: int
    note: str = ""


def main() -> int:
    """0 when every demo ended with every row answered once."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument(
        "--only", nargs="*", choices=[*TARGETS, *ENDS_ALL], metavar="KIND", help="kinds of process (default: all)"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = []
    with System() as system:
        for name, parts in {**TARGETS, **ENDS_ALL}.items():
            if options.only and name not in options.only:
                continue
            if not system.find(*parts):
                print(f"there is no {name} here", file=sys.stderr, flush=True)
                continue
            print(f"killing: {name}", file=sys.stderr, flush=True)
            results.append(_kill(system, name, parts))
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=1))
    else:
        Console().print(table(results))
    return 0 if all(result.answered_once for result in results) else 1


def _kill(system: System, name: str, parts: tuple[str, ...]) -> Result:
    before = _newest(system)
    # Found beforehand: the tasks are under way for some hundred milliseconds only.
    targets = system.find(*parts)
    assert targets, f"there is no {name}"
    began = time.monotonic()
    demo = subprocess.Popen(
        [sys.executable, "-m", "examples.demo", "--base-url", system.url, "--json", "--timeout", "240"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    answer: list[str] = []
    reader = threading.Thread(target=lambda: answer.extend(demo.communicate(timeout=300)))
    reader.start()
    while _newest(system) == before and demo.poll() is None:
        time.sleep(0.005)
    for target in targets:
        target.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    if name in ENDS_ALL:
        system.wait_ended(60)
        system.start()
    reader.join()
    demo_s = time.monotonic() - began
    system.wait_healthy(90)
    healthy = time.monotonic() - killed
    if demo.returncode != 0:
        return Result(name, False, demo_s, healthy, 0, answer[1][-300:])
    found = json.loads(answer[0])
    return Result(name, True, round(demo_s, 2), round(healthy, 2), found.get("retried", 0))


def _newest(system: System) -> str | None:
    items = system.get("/api/v1/tasks?type=ml.predict&limit=1")["items"]
    return items[0]["id"] if items else None


def table(results: list[Result]) -> Table:
    """The results for people."""
    shown = Table(title="SIGKILL while the demo runs")
    for column in (
        "killed",
        "every row answered once",
        "demo, s",
        "all healthy again after, s",
        "tasks retried",
        "note",
    ):
        shown.add_column(column)
    for r in results:
        shown.add_row(
            r.killed,
            "yes" if r.answered_once else "NO",
            f"{r.demo_s:.1f}",
            f"{r.healthy_again_s:.1f}",
            str(r.retried),
            r.note,
        )
    return shown


if __name__ == "__main__":
    sys.exit(main())
