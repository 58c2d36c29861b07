"""Initializes the organism, and waits until it is initialized."""

import asyncio
import time

from seedcore.errors import NotFoundError, SeedCoreError, UnavailableError
from seedcore.service_clients.organism_client import OrganismClient
from seedcore.settings import Settings
from seedcore.telemetry.logs import get_logger

PAUSE_S = 0.25


async def bootstrap_organism(settings: Settings, deadline: float) -> None:
    """Initialize the organism; repeating it changes nothing. `deadline` is on `time.monotonic()`.

    Raises:
        UnavailableError: it was not initialized in time; the detail holds the last answer.
    """
    log = get_logger("bootstraps.organism")
    client = OrganismClient(settings, timeout_s=30)
    last = "no answer yet"
    try:
        while time.monotonic() < deadline:
            try:
                status = await client.initialize()
                if status["organism_initialized"]:
                    log.info("organism initialized", organs=sorted(status["organs"]))
                    return
                last = "not every organ is up"
            except SeedCoreError as error:
                # Until its application is deployed, the gateway answers these paths with 404.
                if error.status < 500 and not isinstance(error, NotFoundError):
                    raise
                last = error.detail
            await asyncio.sleep(PAUSE_S)
    finally:
        await client.aclose()
    raise UnavailableError(f"The organism was not initialized in time: {last}")
