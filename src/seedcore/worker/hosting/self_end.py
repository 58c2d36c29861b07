"""How a host ends its own process when its skills can run no more, so that Ray starts it again."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from seedcore.fleet.agent_repository import REPORT_INTERVAL_S
from seedcore.worker.execution.loop_bridge import LoopBridge
from seedcore.worker.execution.task_pool import Job
from seedcore.worker.execution.watchdog import BlockedLoop
from seedcore.worker.hosting.host_reports import HostReports
from seedcore.worker.hosting.organ_executors import OrganExecutors

SHUTDOWN_S = 5.0
"""Longest time that a host which ends itself takes to save what its agents learned, and to return its calls."""

EXIT_REPLACED = 70

OnEnd = Callable[[Mapping[str, str]], Awaitable[None]]


class CallJournal(Protocol):
    """Notes which calls have begun, for the process that comes next."""

    def clear(self, keep: Collection[int] = ()) -> None:
        """Forget all calls but those with these tokens; nothing is noted after this."""


class SelfEnd:
    """Ends the process once, after its agents are saved and its calls returned; all of it runs in the reports' loop.

    Args:
        bridge: what has the calls.
        reports: saves.
        log: says why.
        on_end: called before the calls are returned; None: nothing is.
        exit: ends the process.
        journal: of calls that have begun; None: there is none.
    """

    def __init__(
        self,
        bridge: LoopBridge[OrganExecutors],
        reports: HostReports,
        log: FilteringBoundLogger,
        on_end: OnEnd | None,
        exit: Callable[[int], object],  # noqa: A002 - it is what ends the process
        journal: CallJournal | None,
    ) -> None:
        self._bridge, self._reports, self._log = bridge, reports, log
        self._on_end, self._exit, self._journal = on_end, exit, journal
        self.begun = False

    async def blocked(self, seen: BlockedLoop) -> None:
        """A skill blocks the loop: record which one, then `run`."""
        in_hand = self._bridge.executor.jobs_by_agents()
        # Which job holds the loop may be unknown. Then any that has begun may: else it would be retried without end.
        culprits = [(agents, job) for agents, job in in_hand if (job.began if seen.job is None else job is seen.job)]
        why = {"reason": f"a skill has blocked the event loop for {seen.seconds:g} s", "stack": seen.stack}
        if seen.job is not None:
            call = seen.job.call
            why |= {"task_id": call.task_id, "agent": call.agent, "skill": call.skill}
        self._log.error("host is blocked, replacing it", **why)
        message = (
            f"the skill has blocked its host's event loop for {seen.seconds:g} s: "
            "write it as a plain `def` (a thread) or with process=True"
        )
        for agents, job in culprits:
            agents.record_outcome(job.call.agent, job.call.skill, seen.seconds, ok=False)
        await self.run(why, [job for _, job in culprits], message)

    async def run(self, why: dict[str, str], culprits: Sequence[Job] = (), message: str = "") -> None:
        """End the process; the calls of `culprits` fail with `message`, the others are returned without an attempt."""
        if self.begun:
            return
        self.begun = True
        deadline = time.monotonic() + SHUTDOWN_S
        for agents, job in self._bridge.executor.jobs_by_agents():
            agents.release(job.call.agent, job.call.skill)
        handing_back = asyncio.create_task(self._announce(why))
        # Whoever claims hears first that there will be no more; then the calls come back.
        await asyncio.sleep(0)
        if self._journal is not None:
            self._journal.clear([job.call.token for job in culprits])
        self._bridge.close(why["reason"], [job.call.task_id for job in culprits], message)
        try:
            async with asyncio.timeout(SHUTDOWN_S):
                await self._reports.write_end(why)
        except Exception as error:  # noqa: BLE001 - the host ends all the same; only the last outcomes are lost
            self._log.error("host cannot save its last outcomes", reason=f"{type(error).__name__}: {error}")
        while (self._bridge.open_streams or not handing_back.done()) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        # The last chunks are still on their way through other threads.
        await asyncio.sleep(REPORT_INTERVAL_S)
        self._exit(EXIT_REPLACED)

    async def _announce(self, why: Mapping[str, str]) -> None:
        if self._on_end is None:
            return
        try:
            await self._on_end(why)
        except Exception as error:  # noqa: BLE001 - the host ends all the same; its leases are released by others
            self._log.error("leases were not handed back", reason=f"{type(error).__name__}: {error}")
