"""Says for how long an event loop has given no answer, when it is asked now and then from another thread."""

import asyncio
import time


class LoopPulse:
    """Each question sends a call through the loop, unless the last one is still on its way."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asked: float | None = None

    def silent_s(self) -> float:
        """Seconds since the first question that has no answer; 0 when every one has."""
        if self._asked is not None:
            return time.monotonic() - self._asked
        self._asked = time.monotonic()
        self._loop.call_soon_threadsafe(self._answer)
        return 0.0

    def _answer(self) -> None:
        self._asked = None
