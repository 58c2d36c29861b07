"""Work in the background that one replica of a service does: the one that leads under the service's role."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

from seedcore.errors import UnavailableError
from seedcore.stores.leading.leadership import Role, lead, resign
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.telemetry.logs import get_logger
from seedcore.utils.waiting import wait_for_event

RENEW_S, LEASE_S = 2.0, 8.0
"""Seconds between two renewals of the lead, and after which a leader that does not renew it has lost it."""


@dataclass(frozen=True, slots=True)
class LeaderJob:
    """Work that the leader does again and again.

    Two replicas may both believe for some seconds that they lead, so doing it twice must change nothing.

    Attributes:
        name: shown in health and logs.
        interval_s: seconds from the start of one round to the start of the next.
        run: one round. What it raises is logged and shown in health, and the next round tries again.
    """

    name: str
    interval_s: float
    run: Callable[[], Awaitable[None]]


class LeaderLoop:
    """Leads where no other replica does, and then runs the jobs, each in a loop of its own.

    Args:
        database: where the lead is stored.
        role: what is led.
        jobs: what the leader does.

    Attributes:
        errors: the last failure of each job whose last round failed.
    """

    def __init__(self, database: Database, role: Role, jobs: Sequence[LeaderJob]) -> None:
        self._database, self._role, self._jobs, self._owner = database, role, tuple(jobs), uuid4()
        self._lead = f"{lead(role)} returning true"
        self._leads_until = float("-inf")
        self._stopped = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.errors: dict[str, str] = {}
        self._log = get_logger("seedcore.stores.leader_loop").bind(role=role)

    @property
    def leads(self) -> bool:
        """Whether this replica leads."""
        return time.monotonic() < self._leads_until

    def start(self) -> None:
        """Begin; the first round of each job comes as soon as this replica leads."""
        self._tasks = [asyncio.create_task(self._keep_lead(), name=f"{self._role}-lead")]
        self._tasks += [asyncio.create_task(self._repeat(job), name=f"{self._role}-{job.name}") for job in self._jobs]

    async def stop(self) -> None:
        """End the jobs, and let another replica lead at once."""
        self._stopped.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.leads:
            self._leads_until = float("-inf")
            try:
                async with self._database.connection(wait_s=1.0) as connection:
                    await resign(connection, self._role, self._owner)
            except DATABASE_ERRORS as error:
                self._log.info("lead not given back, it will expire", reason=str(error))

    def health(self) -> Mapping[str, object]:
        """Whether this replica leads, and which jobs fail."""
        return {"leads": self.leads, "failing": dict(self.errors)}

    async def try_to_lead(self) -> bool:
        """Take or renew the lead; returns whether this replica has it."""
        asked = time.monotonic()
        try:
            async with self._database.connection(wait_s=RENEW_S) as connection:
                led = await connection.fetchval(self._lead, self._owner, LEASE_S)
        except DATABASE_ERRORS as error:
            self.errors["lead"] = str(error)
            return self.leads
        self.errors.pop("lead", None)
        # From before the request, so that it ends here before it does in the database.
        self._leads_until = asked + LEASE_S if led else float("-inf")
        return self.leads

    async def _keep_lead(self) -> None:
        while not self._stopped.is_set():
            led, leads = self.leads, await self.try_to_lead()
            if led != leads:
                self._log.info("leads" if leads else "follows")
            await wait_for_event(self._stopped, RENEW_S)

    async def _repeat(self, job: LeaderJob) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            if self.leads:
                await self._run(job)
                pause = job.interval_s
            else:
                pause = min(job.interval_s, 0.5)
            await wait_for_event(self._stopped, max(0.01, began + pause - time.monotonic()))

    async def _run(self, job: LeaderJob) -> None:
        try:
            await job.run()
        except Exception as error:  # noqa: BLE001 - whatever fails, the next round tries again
            reason = error.detail if isinstance(error, UnavailableError) else f"{type(error).__name__}: {error}"
            if self.errors.get(job.name) != reason:
                self._log.warning("job of the leader failed", job=job.name, reason=reason)
            self.errors[job.name] = reason
        else:
            self.errors.pop(job.name, None)
