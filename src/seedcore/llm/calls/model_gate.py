"""Before each model: how many calls are open at once, and whether it is worth asking at all."""

import asyncio
import time
from collections.abc import Callable

from seedcore.errors import DeadlineError, OverloadedError, UnavailableError

FAILURES = 5
"""So many failures in sequence open the breaker."""
OPEN_S = 10.0
WAITING_PER_CALL = 16
"""So many calls may wait for each one that may be open."""


class CircuitBreaker:
    """Refuses calls for a while after several failed in sequence; then lets one through to see."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether calls are refused, or one of them shows how it is."""
        return self._opened_at is not None

    def check(self, model: str) -> None:
        """Let a call through, or raise UnavailableError."""
        if self._opened_at is None:
            return
        left = self._opened_at + OPEN_S - self._clock()
        if left > 0 or self._probing:
            raise UnavailableError(
                f"The language model {model} failed {self._failures} times in sequence; it is asked again in a moment.",
                retry_after_s=max(1.0, round(left, 1)),
            )
        self._probing = True

    def succeeded(self) -> None:
        """A call was answered."""
        self._failures, self._opened_at, self._probing = 0, None, False

    def failed(self) -> None:
        """A call was not answered."""
        self._failures += 1
        self._probing = False
        if self._failures >= FAILURES:
            self._opened_at = self._clock()

    def let_go(self) -> None:
        """A call ended without saying anything of the server: the next one may be the probe."""
        self._probing = False


class ModelGate:
    """One model's turns and breaker, in one process."""

    def __init__(self, model: str, concurrency: int) -> None:
        self.model = model
        self.breaker = CircuitBreaker()
        self._turns = asyncio.Semaphore(concurrency)
        self._limit = concurrency
        self.open = 0
        self.waiting = 0

    async def enter(self, deadline: float) -> None:
        """Wait for a turn, until the loop's time `deadline`; every entry has one `leave`.

        Raises:
            UnavailableError: the breaker is open.
            OverloadedError: too many wait already.
            DeadlineError: no turn came in time.
        """
        if self.waiting >= WAITING_PER_CALL * self._limit:
            raise OverloadedError(f"{self.waiting} calls wait for the language model {self.model}.", retry_after_s=2)
        self.waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self._turns.acquire()
        except TimeoutError:
            raise DeadlineError(f"No turn at the language model {self.model} came in time.") from None
        finally:
            self.waiting -= 1
        try:
            self.breaker.check(self.model)
        except UnavailableError:
            self._turns.release()
            raise
        self.open += 1

    def status(self) -> dict[str, object]:
        """For health."""
        return {"open": self.open, "waiting": self.waiting, "breaker_open": self.breaker.is_open}

    def leave(self) -> None:
        """The call has ended."""
        self.open -= 1
        self.breaker.let_go()
        self._turns.release()
