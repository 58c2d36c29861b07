"""Doing a fault: by pid, to processes of one system only. What is stopped goes on again, whatever happens meanwhile."""

import asyncio
import contextlib
import signal
import time

import psutil

from benchmarks.chaos.plan import KINDS, STOP, Fault
from benchmarks.chaos.recovery import Struck
from benchmarks.system import System

FIND_S = 10.0


class Striker:
    """Strikes processes of `system`, and remembers which of them stand still."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._still: set[psutil.Process] = set()

    async def strike(self, fault: Fault) -> tuple[Struck, asyncio.Task[None] | None] | None:
        """Kill or stop; returns what was done and, for a stop, the task that lets it go on.

        None when no process of the kind appeared in time: an earlier fault still keeps it down.
        """
        targets = await self._find(fault)
        number = signal.Signals[fault.signal]
        at, struck = time.time(), []
        for target in targets:
            with contextlib.suppress(psutil.NoSuchProcess):
                # psutil holds pid and start time together: a pid that is somebody else's by now is not signalled.
                target.send_signal(number)
                struck.append(target)
        if not struck:
            return None
        done = Struck(fault.kind, fault.signal, at, len(struck), fault.stop_s)
        if fault.signal != STOP:
            return done, None
        self._still.update(struck)
        return done, asyncio.create_task(self._let_go(struck, fault.stop_s))

    async def _find(self, fault: Fault) -> list[psutil.Process]:
        deadline = time.monotonic() + FIND_S
        while True:
            found = await asyncio.to_thread(self._system.find, *KINDS[fault.kind])
            found = sorted((p for p in found if p not in self._still), key=lambda p: p.pid)
            if found:
                return found if fault.pick is None else [found[int(fault.pick * len(found))]]
            if time.monotonic() > deadline:
                return []
            await asyncio.sleep(0.2)

    async def _let_go(self, processes: list[psutil.Process], after_s: float) -> None:
        await asyncio.sleep(after_s)
        self._go_on(processes)

    def _go_on(self, processes: list[psutil.Process]) -> None:
        for process in processes:
            self._still.discard(process)
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)

    def release(self) -> None:
        """Let everything go on that still stands."""
        self._go_on(list(self._still))
