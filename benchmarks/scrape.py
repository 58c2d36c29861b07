"""`python -m benchmarks.scrape`: how long the gateway's `/metrics` takes, and how large it is.

An embedded PostgreSQL of its own is filled with agents, with series of types, and with a queue of several tenants; the
gateway's application answers in this process, each time with a fresh read (it is cached for a second otherwise).
"""

import argparse
import asyncio
import gzip
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from seedcore.api.app import build_app
from seedcore.settings import load_settings
from seedcore.stores import metric_series
from seedcore.stores.embedded import embedded_postgres
from seedcore.stores.migrate import migrate
from seedcore.stores.postgres import Database
from seedcore.telemetry.metrics.catalogue import CATALOGUE
from seedcore.telemetry.metrics.metric_registry import MetricRegistry

AGENTS = """
insert into seedcore.agents (id, organ, host, lifecycle)
select 'agent-' || n, 'organ-' || n % 20, 'host-' || n % 50, (array['scout', 'employed', 'archived'])[1 + n % 3]
from generate_series(1, $1::integer) n
"""
TASKS = """
with t as (
  insert into seedcore.tasks (id, type, params, max_attempts, tenant)
  select seedcore.new_id(), 'acme.type-' || n % $2, '{}', 3,
         case when n % 1000 < 99 then 'small-' || n % 1000 else 'large' end
  from generate_series(1, $1::integer) n returning id, tenant)
insert into seedcore.ready (queue, rank, id, tenant) select 'default', 0, id, tenant from t
"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scrape", description=__doc__)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--types", type=int, default=200)
    parser.add_argument("--tasks", type=int, default=200_000, help="tasks that are due")
    parser.add_argument(
        "--named", type=int, nargs="+", default=[64, 200], help="SEEDCORE_METRICS_MAX_TYPES, each in turn"
    )
    parser.add_argument("--scrapes", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scb", ignore_cleanup_errors=True) as folder:
        server = embedded_postgres(load_settings(data_dir=Path(folder) / "data"))
        settings = load_settings(data_dir=Path(folder) / "data", pg_dsn=server.acquire())
        try:
            migrate(settings)
            result = asyncio.run(_measure(settings.model_copy(), options))
        finally:
            server.release()
    print(json.dumps(result, indent=1) if options.json else "\n".join(map(_line, result)))
    return 0


async def _measure(settings: Any, options: argparse.Namespace) -> list[dict[str, Any]]:
    database = Database(settings)
    async with database.connection() as connection:
        await connection.execute(AGENTS, options.agents)
        await connection.execute(TASKS, options.tasks, options.types)
        await metric_series.add(connection, counted(options.types).take())
    await database.aclose()
    return [
        await _scrapes(settings.model_copy(update={"metrics_max_types": named}), options) for named in options.named
    ]


async def _scrapes(settings: Any, options: argparse.Namespace) -> dict[str, Any]:
    app, took, cpu = build_app(settings), [], []
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        for _ in range(options.scrapes + 1):
            app.state.metrics._read_at = float("-inf")
            began, used = time.perf_counter(), time.process_time()
            answer = await http.get("/metrics", headers={"Accept-Encoding": "identity"})
            took.append(1000 * (time.perf_counter() - began))
            cpu.append(1000 * (time.process_time() - used))
    await app.state.gateway.aclose()
    return {
        "named_types": settings.metrics_max_types,
        "median_ms": round(statistics.median(took[1:]), 1),
        "worst_ms": round(max(took[1:]), 1),
        "processor_ms": round(statistics.median(cpu[1:]), 1),
        "bytes": len(answer.content),
        "packed_bytes": len(gzip.compress(answer.content, 1)),
        "samples": sum(not line.startswith("#") for line in answer.text.splitlines()),
    }


def counted(types: int) -> MetricRegistry:
    """What processes have counted of so many types."""
    registry = MetricRegistry(max_types=max(types, 64))
    for spec in (spec for spec in CATALOGUE if spec.source == "process"):
        for n in range(types if "type" in spec.labels else 3):
            labels = {name: "default" if name == "queue" else f"acme.{name}-{n}" for name in spec.labels}
            if spec.kind == "histogram":
                for value in (*spec.bounds, 1e6):
                    registry.histograms[spec.name].observe(value, **labels)
            elif spec.kind == "gauge":
                registry.gauges[spec.name].set(n, **labels)
            else:
                more = ("completed", "failed", "retried") if "outcome" in labels else (None,)
                for outcome in more:
                    registry.counters[spec.name].add(
                        n + 0.5, **(labels | ({} if outcome is None else {"outcome": outcome}))
                    )
    return registry


def _line(one: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in one.items())


if __name__ == "__main__":
    raise SystemExit(main())
