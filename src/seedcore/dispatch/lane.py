"""When a dispatcher looks for work in one lane of its queue, and how much it asks for."""

import time

from seedcore.tasks.flow import Flow
from seedcore.tasks.scan import Scan

# A wake-up can be lost between "nothing there" and the next commit: look again soon, then less and less often.
RECHECKS_S = (0.02, 0.1, 0.5)
PATIENT_S = 0.05

# As many within `flow.WINDOW_S` are fetched this often; nobody needs to call then.
FLOW_COUNT = 10
FLOW_PAUSE_S = 0.003


class Lane:
    """One lane of a queue: how far its claims have come, and whether there may be more.

    Args:
        most: tasks claimed at once.
        poll_s: an idle lane is looked at this often even without a wake-up.
    """

    def __init__(self, most: int, poll_s: float) -> None:
        self.scan = Scan()
        self.idle = False
        self._most, self._poll_s = most, poll_s
        self._waits = 0
        self._next = 0.0
        self._claimed = 0.0
        self._flow = Flow(FLOW_COUNT)

    def wake(self) -> None:
        """There may be something to claim."""
        self._next = 0.0

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
        self._flow.came(got)
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
        return self._flow.flows

    @property
    def soon(self) -> bool:
        """Whether the next look is so near that what ended may wait for it: both are one statement then."""
        return self.flows and self.pause_s() < 2 * FLOW_PAUSE_S

    def rest(self) -> None:
        """It is idle from now on, and submitters know it: one more look, for what they submitted before they did."""
        self.idle, self._next, self._waits = True, 0.0, 0

    def sleep(self, seconds: float) -> None:
        """Not before that."""
        self._next = time.monotonic() + seconds

    def pause_s(self) -> float:
        """Seconds until the next look."""
        return max(0.0, self._next - time.monotonic())
