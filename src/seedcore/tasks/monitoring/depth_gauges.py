"""The gauges of queues: what waits, by queue, type and tenant, and how old the oldest is."""

from collections import defaultdict
from collections.abc import Sequence

import asyncpg

from seedcore.tasks.monitoring import depth_statements as depths
from seedcore.telemetry.metrics.label_bounds import SeriesKey

GaugeSamples = dict[str, dict[SeriesKey, float]]
"""Values of gauges, by name and series."""


async def read_depths(connection: asyncpg.Connection) -> GaugeSamples:
    """Every gauge of the task tables, in bounded reads.

    What is over their bounds is estimated: depths from the server's statistics, types from the first of each group.
    """
    ready = await connection.fetch(depths.READY)
    later = await connection.fetch(depths.LATER)
    totals = await connection.fetchrow(depths.TOTALS)
    sessions = await connection.fetch(depths.DISPATCHERS)
    samples = _ready(ready)
    for row in later:
        samples["seedcore_queue_depth"][row["queue"], row["state"]] = row["n"]
    dead = totals["dead"] if totals["dead"] < depths.MAX_OTHERS else max(totals["dead"], totals["dead_live"])
    samples["seedcore_dead_letters"] = {(): float(dead)}
    for state in ("running", "waiting", "approval"):
        samples[f"seedcore_tasks_{state}"] = {(): float(totals[state])}
    for row in sessions:
        # A queue that somebody works on is shown although nothing waits in it.
        samples["seedcore_queue_depth"].setdefault((row["queue"], "ready"), 0)
        samples["seedcore_queue_oldest_seconds"].setdefault((row["queue"],), 0)
    samples["seedcore_dispatchers"] = {(row["queue"],): row["n"] for row in sessions}
    return samples


def _ready(rows: Sequence[asyncpg.Record]) -> GaugeSamples:
    groups = [row for row in rows if row["kind"] == "group"]
    live = sum(row["n"] for row in rows if row["kind"] == "live")
    open_ends = sum(row["more"] for row in groups)
    left = max(0.0, live - sum(row["n"] for row in groups)) / open_ends if open_ends else 0.0
    # Types are counted of the first tasks of each tenant in a queue, and stand for all of them.
    known, seen = dict[tuple[str, str], float](), defaultdict[tuple[str, str], float](float)
    queues, tenants = defaultdict[str, float](float), defaultdict[str, float](float)
    oldest, types = dict[SeriesKey, float](), defaultdict[tuple[str, str], float](float)
    for row in groups:
        number, queue, tenant = row["n"] + left * row["more"], row["queue"], row["tenant"]
        known[queue, tenant] = number
        queues[queue] += number
        tenants[tenant] += number
        oldest[queue,] = max(oldest.get((queue,), 0.0), row["oldest_s"] or 0.0)
    typed = [row for row in rows if row["kind"] == "type"]
    for row in typed:
        seen[row["queue"], row["tenant"]] += row["n"]
    for row in typed:
        group = row["queue"], row["tenant"]
        types[row["queue"], row["type"]] += row["n"] * known[group] / seen[group]
    return {
        "seedcore_queue_depth": {(queue, "ready"): round(number) for queue, number in queues.items()},
        "seedcore_queue_oldest_seconds": oldest,
        "seedcore_tenant_depth": {(tenant,): round(number) for tenant, number in tenants.items()},
        "seedcore_type_depth": {key: round(number) for key, number in types.items()},
    }
