"""Initializes the organism, and waits until it is initialized."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from seedcore.errors import NotFoundError, SeedCoreError, SettingsError, UnavailableError
from seedcore.service_clients.organism_client import OrganismClient
from seedcore.settings import Settings
from seedcore.telemetry.logs import get_logger

PAUSE_S = 0.1

Answer = TypeVar("Answer")


async def bootstrap_organism(settings: Settings, deadline: float) -> None:
    """Initialize the organism; repeating it changes nothing. `deadline` is on `time.monotonic()`.

    Raises:
        UnavailableError: it was not initialized in time; the detail holds the last answer.
    """
    client = OrganismClient(settings, timeout_s=30)
    try:
        while True:
            status = await call_organism(client.initialize, deadline)
            if status["organism_initialized"]:
                break
            if time.monotonic() > deadline:
                raise UnavailableError("The organism was not initialized in time: not every organ is up")
            await asyncio.sleep(PAUSE_S)
    finally:
        await client.aclose()
    get_logger("bootstraps.organism").info("organism initialized", organs=sorted(status["organs"]))


async def call_organism(call: Callable[[], Awaitable[Answer]], deadline: float) -> Answer:
    """The answer to `call`, which is made again while the Organism cannot be reached or is not ready.

    Raises:
        UnavailableError: there is none in time; the detail holds the last one.
        SeedCoreError: the call was refused.
    """
    while True:
        try:
            return await call()
        except SeedCoreError as error:
            # Until its application is deployed, the gateway answers these paths with 404.
            refused = error.status < 500 and not isinstance(error, NotFoundError)
            if refused or isinstance(error, SettingsError):  # a wrong organs file is the same at every attempt
                raise
            if time.monotonic() > deadline:
                raise UnavailableError(f"The Organism did not answer in time: {error.detail}") from error
        await asyncio.sleep(PAUSE_S)
