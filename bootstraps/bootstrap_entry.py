"""Bring SeedCore up on a running Ray: `python -m bootstraps.bootstrap_entry`.

Migrates the database, initializes the organism, starts dispatchers and reaper (BOOTSTRAP_MODE says which of the
two), and ends with a canary task that goes through the queue. Exit status 0 only then, 1 when something does not
come up in time, 2 on a bad setting. Running it again changes nothing.
"""

import asyncio
import json
import sys
import time

from bootstraps.bootstrap_dispatchers import bootstrap_dispatchers
from bootstraps.bootstrap_organism import bootstrap_organism
from bootstraps.bootstrap_warmth import bootstrap_warmth
from seedcore.errors import SeedCoreError, SettingsError, UnavailableError
from seedcore.settings import Settings, get_settings
from seedcore.stores.migrate import migrate
from seedcore.stores.postgres import Database
from seedcore.tasks import queries
from seedcore.tasks.feed import EventFeed
from seedcore.tasks.model import NewTask, Status
from seedcore.tasks.submit import submit
from seedcore.utils.logs import configure_logs, get_logger
from seedcore.utils.ray_utils import ensure_ray_initialized, refuse_embedded_on_many_nodes


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
    return 0


async def bootstrap(settings: Settings) -> None:
    """Do what BOOTSTRAP_MODE says.

    Raises:
        SeedCoreError: what did not come up, and why.
    """
    log = get_logger("bootstraps", mode=settings.bootstrap_mode)
    deadline = time.monotonic() + settings.bootstrap_timeout_s
    # First of all: everything else waits for the schema.
    await asyncio.to_thread(migrate, settings)
    connected = await asyncio.to_thread(ensure_ray_initialized)
    if connected:
        await asyncio.to_thread(refuse_embedded_on_many_nodes, settings)
    if not connected and settings.bootstrap_mode != "organism":
        raise UnavailableError("There is no Ray: start it with `serve run serve_config/dev.yaml` or set RAY_ADDRESS.")
    if not connected:
        log.warning("no Ray here, the organism is reached over HTTP", url=settings.base_url)
    work = []
    if settings.bootstrap_mode in ("all", "organism"):
        work.append(bootstrap_organism(settings, deadline))
    if settings.bootstrap_mode in ("all", "dispatchers"):
        work.append(bootstrap_dispatchers(settings, deadline))
    await asyncio.gather(*work)
    if settings.bootstrap_mode == "all":
        seconds, _ = await asyncio.gather(canary(settings, deadline), bootstrap_warmth(settings, deadline))
        log.info("canary completed", seconds=round(seconds, 3))


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
            task = NewTask("echo", json.dumps({"value": "canary"}), domain="bootstrap", priority=100)
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
