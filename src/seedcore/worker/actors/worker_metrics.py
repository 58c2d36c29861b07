"""What a worker shows on Ray's metrics port, once a second: Ray adds its prefix `ray_` to each name."""

import asyncio
from collections.abc import Callable

from ray.util.metrics import Gauge

INTERVAL_S = 1.0


async def export_snapshot_age(name: str, age_s: Callable[[], float | None]) -> None:
    """Export `seedcore_snapshot_age_seconds` of this worker until cancelled; nothing while there is no snapshot."""
    gauge = Gauge(
        "seedcore_snapshot_age_seconds",
        description="Seconds since a Coordinator confirmed what this worker decides with.",
        tag_keys=("worker",),
    )
    gauge.set_default_tags({"worker": name})
    while True:
        if (age := age_s()) is not None:
            gauge.set(age)
        await asyncio.sleep(INTERVAL_S)
