"""When a dispatcher looks for work in one lane of its queue, and how much it asks for."""

import time

from seedcore.tasks.claim_cursor import ClaimCursor
from seedcore.tasks.events.arrival_rate import ArrivalRate

# A wake-up can be lost between "nothing there" and the next commit: look again soon, then less and less often.
RECHECKS_S = (0.02, 0.1, 0.5)
PATIENT_S = 0.05
GATHER_S = 0.1

# As many within `flow.WINDOW_S` are fetched this often; nobody needs to call then.
FLOW_COUNT = 10
FLOW_PAUSE_S = 0.003

# A call wakes every dispatcher that waits. Those who came too late hesitate longer the next time, and leave a trickle
# to the one who is quickest.
SHY_S, SHYEST_S = 0.005, 0.25


class Lane:
    """One lane of a queue: how far its claims have come, and whether there may be more.

    Args:
        most: tasks claimed at once.
        poll_s: an idle lane is looked at this often even without a wake-up.
    """

    def __init__(self, most: int, poll_s: float) -> None:
        self.scan = ClaimCursor()
        self.idle = False
        self._most, self._poll_s = most, poll_s
        self._waits = 0
        self._next = 0.0
        self._claimed = 0.0
        self._flow = ArrivalRate(FLOW_COUNT)
        self._shy = 0.0
        self._woken = False
        self._partial = False

    def wake(self) -> None:
        """There may be something to claim."""
        self._woken = True
        self._next = min(self._next, time.monotonic() + self._shy) if self._shy else 0.0

    def wanted(self, room: int) -> int:
        """How many to claim now, given room for so many; 0 for none.

        While the room is small, whole batches are waited for a moment: they cost less a task.
        """
        now = time.monotonic()
        if room <= 0 or now < self._next:
            return 0
        if room < self._most and now - self._claimed < PATIENT_S:
            self._next = self._claimed + PATIENT_S
            return 0
        return min(room, self._most)

    def took(self, wanted: int, got: int) -> None:
        """A claim for `wanted` tasks gave `got`."""
        now = time.monotonic()
        self._flow.record(got)
        self._partial = 0 < got < wanted
        if got:
            self._shy = 0.0
        elif self._woken:
            self._shy = min(max(SHY_S, 2 * self._shy), SHYEST_S)
        self._woken = False
        if got:
            self._claimed, self._waits = now, 0
        if got >= wanted:
            self._next = 0.0
            self.idle = False
        elif self.flows:
            self._next = now + FLOW_PAUSE_S
            self.idle = False
        elif self.idle:
            pauses = (*RECHECKS_S, self._poll_s)
            self._next = now + min(pauses[min(self._waits, len(pauses) - 1)], self._poll_s)
            self._waits += 1

    @property
    def flows(self) -> bool:
        """Whether tasks come so fast that nobody needs to call for them."""
        return self._flow.high

    @property
    def soon(self) -> bool:
        """Whether the next look is so near that what ended may wait for it: both are one statement then."""
        return self.flows and self.pause_s() < 2 * FLOW_PAUSE_S

    def gather_s(self) -> float:
        """Seconds that the next claim may wait, so that it finds more than the last one, which found little."""
        return max(0.0, self._claimed + GATHER_S - time.monotonic()) if self._partial else 0.0

    def rest(self) -> None:
        """It is idle from now on, and submitters know it: one more look, for what they submitted before they did."""
        self.idle, self._next, self._waits = True, 0.0, 0

    def sleep(self, seconds: float) -> None:
        """Not before that."""
        self._next = time.monotonic() + seconds

    def pause_s(self) -> float:
        """Seconds until the next look."""
        return max(0.0, self._next - time.monotonic())
