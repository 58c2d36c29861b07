"""`python -m benchmarks.telemetry`: what metrics, and traces of one task in a hundred, cost.

Two SeedCores run beside each other: one counts metrics and sends one trace in a hundred to a collector in this process,
the other does neither. In rounds, in turns, each gets single submits at a rate, of which the processor time a task is
taken, and a backlog to drain. Exit status 0, whatever the figures are; they mean something on a quiet machine alone.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import threading
from contextlib import AsyncExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import aiohttp
import httpx

from benchmarks.pipeline.drain import _drain
from benchmarks.pipeline.feed import Feed, light_client
from benchmarks.pipeline.singles import processor_time
from benchmarks.system import ROOT, System

WANTED_SHARE = 0.03


class Collector(BaseHTTPRequestHandler):
    """Takes spans, and counts the requests that bring them."""

    requests = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        Collector.requests += 1
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Nothing: a line a request would cost more than the request."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--rate", type=float, default=100.0, help="single submits a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of single submits, and of idling before them")
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks of each backlog; 0: no drains")
    parser.add_argument("--traces", type=float, default=0.01, help="share of the tasks that are traced; 0: none")
    options = parser.parse_args()
    collector = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    plain = {"SEEDCORE_SKILLS": "benchmarks.skills", "PYTHONPATH": path, "SEEDCORE_METRICS": "false"}
    counting = plain | {"SEEDCORE_METRICS": "true"}
    if options.traces:
        counting |= {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
            "OTEL_TRACES_SAMPLER": "traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": str(options.traces),
        }
    with System(**plain) as off, System(**counting) as on:
        rounds = asyncio.run(_measure({"off": off, "on": on}, options))
    print(json.dumps({"load_average": os.getloadavg(), **_figures(rounds), "exports": Collector.requests}, indent=1))
    return 0


async def _measure(systems: dict[str, System], options: argparse.Namespace) -> list[dict[str, dict[str, Any]]]:
    rounds = []
    async with AsyncExitStack() as stack:
        parts: dict[str, tuple[aiohttp.ClientSession, Feed, httpx.AsyncClient]] = {}
        for name, system in systems.items():
            light = await stack.enter_async_context(light_client(system.url))
            feed = await stack.enter_async_context(Feed(light))
            plain = await stack.enter_async_context(httpx.AsyncClient(base_url=system.url, timeout=60))
            parts[name] = light, feed, plain
        for n in range(options.rounds):
            found: dict[str, dict[str, Any]] = {}
            # Each goes first as often as the other.
            for name in ("off", "on") if n % 2 == 0 else ("on", "off"):
                light, feed, plain = parts[name]
                cpu = await processor_time(systems[name], light, feed, options.rate, options.seconds)
                found[name] = {
                    "ms": cpu["ms"],
                    "beside_ray_idle_ms": cpu["beside_ray_idle_ms"],
                    "groups": cpu["groups"],
                }
                if options.tasks:
                    found[name]["drain_per_s"] = round((await _drain(plain, options.tasks))[1])
            rounds.append(found)
            shown = {name: (one["ms"], one.get("drain_per_s")) for name, one in found.items()}
            print(f"round {n + 1}: {shown}", file=sys.stderr, flush=True)
    return rounds


def _figures(rounds: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    figures: dict[str, Any] = {"rounds": rounds, "wanted_share": WANTED_SHARE}
    for measure in ("ms", "beside_ray_idle_ms", "drain_per_s"):
        pairs = [(r["off"][measure], r["on"][measure]) for r in rounds if measure in r["off"]]
        if pairs:
            off, on = (statistics.median(values) for values in zip(*pairs, strict=True))
            shares = sorted(b / a - 1 for a, b in pairs)
            figures[measure] = {
                "off": off,
                "on": on,
                "share": round(statistics.median(shares), 4),
                "quartiles": [round(share, 4) for share in statistics.quantiles(shares, n=4)[::2]]
                if len(shares) > 1
                else [],
            }
    return figures


if __name__ == "__main__":
    sys.exit(main())
