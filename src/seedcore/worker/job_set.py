"""Coroutines that a dispatcher runs side by side."""

import asyncio
from collections.abc import Awaitable, Coroutine

from structlog.typing import FilteringBoundLogger


class JobSet:
    """Runs coroutines until each ends; one that fails is logged and disturbs no other."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._jobs: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Run `work` while the caller goes on."""
        job = asyncio.create_task(self._run(work))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def wait(self) -> None:
        """Wait until all have ended, those too that begin meanwhile."""
        while self._jobs:
            await asyncio.wait(self._jobs, return_when=asyncio.FIRST_COMPLETED)

    async def cancel(self) -> None:
        """Cancel all and wait for their ends."""
        jobs = list(self._jobs)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)

    async def _run(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - it must not end unseen; the heartbeat watches its leases
            self._log.error("batch failed unexpectedly", exc_info=error)
