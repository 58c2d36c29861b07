"""Warms a process up, so that its first task does not wait: imports, connections, handles."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.0


class Warming:
    """Steps that run concurrently, each retried until it has succeeded once.

    Attributes:
        cold: the steps that have not succeeded yet, each with the reason; empty once the process is warm.
    """

    def __init__(self, steps: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
        self._steps = dict(steps)
        self.cold = dict.fromkeys(steps, "not done yet")

    async def run(self) -> None:
        """Retry until every step has succeeded."""
        await asyncio.gather(*[self._repeat(name) for name in self._steps])

    async def _repeat(self, name: str) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self._steps[name]()
            except Exception as error:  # noqa: BLE001 - `cold` shows it, and the next attempt may succeed
                self.cold[name] = f"{type(error).__name__}: {error}"[:500]
            else:
                del self.cold[name]
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
