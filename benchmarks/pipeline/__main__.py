"""`python -m benchmarks.pipeline`: the whole path of a task, submit to worker to agent to completed.

`singles`: how long a single `POST` takes at several rates, from the moment it was due to be sent until its completion
shows on the event feed. `cpu`: the processor time of a task at 100 a second, by process, and what the processes use
without one. `route`: one `route-and-execute` after the other. `drain`: how fast a backlog of no-op tasks drains, beside
PgQueuer in one process on the same PostgreSQL, in turns. `sleeper`: whether a task that sleeps 5 s holds up the others
of its batch. `demo`: the tasks of `make demo` right after the ready line. `idle`: processors in use without any task.
Exit status 0, whatever the figures are.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
from rich.console import Console

from benchmarks.pipeline.drain import beside_a_sleeper, drains
from benchmarks.pipeline.feed import Feed, light_client
from benchmarks.pipeline.figures import compare, show
from benchmarks.pipeline.singles import idle_processors, processor_time, route_and_execute, singles
from benchmarks.system import ROOT, System, demo

PARTS = ("demo", "idle", "route", "singles", "cpu", "sleeper", "drain")
"""In the order in which they run: the demo is the first job after the start, and drains leave a history."""


def main() -> int:
    """Measure and print."""
    options = _options()
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    result: dict[str, Any] = {"load_average": os.getloadavg(), "processors": len(os.sched_getaffinity(0))}
    with System(SEEDCORE_SKILLS="benchmarks.skills", PYTHONPATH=path) as system:
        if "demo" in options.only:
            result["demo"] = demo(system.url)
            _say(f"demo: p99 {result['demo']['p99_ms']} ms")
        result |= asyncio.run(_measure(system, options))
    result["figures"] = compare(result)
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        show(Console(width=130), result)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument(
        "--only", type=_parts, default=PARTS, metavar="PART,…", help=f"parts (default: all): {', '.join(PARTS)}"
    )
    parser.add_argument("--rates", type=float, nargs="+", default=[20.0, 100.0, 300.0], help="single submits a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to submit singly, and to measure idling")
    parser.add_argument("--sustained", type=float, help="seconds at the highest rate (default: twice --seconds)")
    parser.add_argument("--cpu-rate", type=float, default=100.0, help="submits a second of the part `cpu`")
    parser.add_argument("--calls", type=int, default=200, help="calls of `route-and-execute`")
    parser.add_argument("--tasks", type=int, default=50_000, help="tasks of the backlog")
    parser.add_argument("--rounds", type=int, default=5, help="drains of each, in turns")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _parts(text: str) -> tuple[str, ...]:
    named = text.split(",")
    if wrong := sorted(set(named) - set(PARTS)):
        raise argparse.ArgumentTypeError(f"no such part: {', '.join(wrong)}; there are {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in named)


async def _measure(system: System, options: argparse.Namespace) -> dict[str, Any]:
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    sustained = options.sustained or 2 * options.seconds
    found: dict[str, Any] = {}
    async with httpx.AsyncClient(base_url=system.url, timeout=60, limits=limits) as client:
        async with light_client(system.url) as light, Feed(light) as feed:
            measures: dict[str, Callable[[], Coroutine[Any, Any, dict[str, Any]]]] = {
                "idle": lambda: idle_processors(system, options.seconds),
                "route": lambda: route_and_execute(light, options.calls),
                "singles": lambda: singles(light, feed, options.rates, options.seconds, sustained),
                "cpu": lambda: processor_time(system, light, feed, options.cpu_rate, options.seconds),
                "sleeper": lambda: beside_a_sleeper(client, feed),
            }
            for part, measure in measures.items():
                if part in options.only:
                    _say(part)
                    found[part] = await measure()
        if "drain" in options.only:
            _say("drain")
            found["drain"] = await drains(client, system, options.tasks, options.rounds)
    return found


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
