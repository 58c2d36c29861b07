"""Starts SeedCore on a running Ray: `python -m bootstraps.bootstrap_entry`.

Migrates the databases, initializes the organism, sets the number of workers and starts the reaper (BOOTSTRAP_MODE says
which of the two), and ends with a canary task that goes through the queue. Exit status 0 only then, 1 when something
does not start in time, 2 on a bad setting. Repeating it changes nothing.

It never starts a Ray, and waits for one that is starting. The organism is reached over HTTP while there is none;
reaper and workers need it.
"""

import asyncio
import json
import sys
import time

from bootstraps.bootstrap_dispatchers import bootstrap_dispatchers
from bootstraps.bootstrap_memory import bootstrap_memory
from bootstraps.bootstrap_mysql import bootstrap_mysql
from bootstraps.bootstrap_organism import bootstrap_organism
from bootstraps.bootstrap_warmth import bootstrap_warmth
from seedcore.errors import RayConnectionError, SeedCoreError, SettingsError, UnavailableError
from seedcore.settings import Settings, get_settings
from seedcore.stores.metric_series import MetricSeriesWriter
from seedcore.stores.migrate import migrate
from seedcore.stores.postgres import Database
from seedcore.tasks import queries
from seedcore.tasks.events.task_feed import EventFeed
from seedcore.tasks.model import Status, TaskSpec
from seedcore.tasks.submission.submit import submit
from seedcore.telemetry.logs import configure_logs, get_logger
from seedcore.telemetry.metrics import counter
from seedcore.telemetry.metrics.metric_export import MetricExport
from seedcore.utils.ray_utils import refuse_embedded_on_many_nodes, shutdown_ray, wait_for_ray


def main() -> int:
    """Run the bootstrap; returns the exit status."""
    try:
        settings = get_settings()
        configure_logs(settings)
        asyncio.run(bootstrap(settings))
    except SettingsError as error:
        sys.stderr.write(f"{error.detail}\n")
        return 2
    except SeedCoreError as error:
        sys.stderr.write(f"Bootstrap failed ({error.code}): {error.detail}\n")
        return 1
    finally:
        # At the interpreter's exit Ray's client would lose its channel under its own threads, and log long errors.
        shutdown_ray()
    return 0


async def bootstrap(settings: Settings) -> None:
    """Do what BOOTSTRAP_MODE says: the organism first, and then the workers that claim tasks for it.

    Raises:
        SeedCoreError: what did not start, and why.
    """
    deadline = time.monotonic() + settings.bootstrap_timeout_s
    # First of all: everything else waits for the schema.
    await asyncio.to_thread(migrate, settings)
    await bootstrap_memory(settings)
    mysql = asyncio.create_task(bootstrap_mysql(settings, deadline))
    try:
        await _start_all(settings, deadline)
        await mysql
    finally:
        mysql.cancel()
        await _export_metrics(settings)


async def _start_all(settings: Settings, deadline: float) -> None:
    if settings.bootstrap_mode in ("all", "organism"):
        await _connect_or_use_http(settings, deadline)
        await bootstrap_organism(settings, deadline)
    if settings.bootstrap_mode in ("all", "dispatchers"):
        await _connect(settings, deadline)
        await bootstrap_dispatchers(settings, deadline)
    if settings.bootstrap_mode == "all":
        seconds, _ = await asyncio.gather(canary(settings, deadline), bootstrap_warmth(settings, deadline))
        get_logger("bootstraps").info("canary completed", seconds=round(seconds, 3))


async def _export_metrics(settings: Settings) -> None:
    """Add what this process has counted, such as its connections to Ray."""
    database = Database(settings, size=1, name="seedcore-bootstrap")
    try:
        await MetricExport(settings, [MetricSeriesWriter(database)]).export(last=True)
    finally:
        await database.aclose()


async def _connect_or_use_http(settings: Settings, deadline: float) -> None:
    """Try Ray for as long as a connection may take; the organism's client goes over HTTP without it."""
    try:
        await _connect(settings, min(deadline, time.monotonic() + settings.ray_connect_timeout_s))
    except RayConnectionError as error:
        counter("seedcore_fallbacks_total").add(1, fallback="bootstrap_http")
        get_logger("bootstraps").warning(
            "no Ray, the organism is reached over HTTP", url=settings.base_url, reason=error.detail
        )


async def _connect(settings: Settings, deadline: float) -> None:
    await asyncio.to_thread(wait_for_ray, deadline, settings=settings)
    await asyncio.to_thread(refuse_embedded_on_many_nodes, settings)


async def canary(settings: Settings, deadline: float) -> float:
    """Send one task through the queue; returns the seconds that it took.

    Raises:
        UnavailableError: it did not complete in time.
    """
    database = Database(settings, size=2, name="seedcore-bootstrap")
    feed = EventFeed(database)
    began = time.monotonic()
    try:
        async with database.connection() as connection:
            task = TaskSpec("echo", json.dumps({"value": "canary"}), domain="bootstrap", priority=100)
            (submitted,) = await submit(connection, [task])
        if not await feed.wait_ended(submitted.id, max(1.0, deadline - time.monotonic())):
            raise UnavailableError(f"The canary task {submitted.id} did not end in time.")
        async with database.connection() as connection:
            record = await queries.get(connection, submitted.id)
        if record.status is not Status.COMPLETED:
            raise UnavailableError(f"The canary task {record.id} {record.status}: {record.error}")
    finally:
        await feed.aclose()
        await database.aclose()
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
