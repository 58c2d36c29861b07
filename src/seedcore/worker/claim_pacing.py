"""When a dispatcher looks for tasks in the lanes of its queue, and how many it claims."""

import time

from seedcore.tasks.claims.claim_cursor import ClaimCursor
from seedcore.tasks.events.arrival_rate import ArrivalRate
from seedcore.tasks.model import lane_name
from seedcore.worker.ports import LeaseStore

# A submission that looked for idle dispatchers before this one was idle notifies none, and commits later: look again
# soon, then less and less often.
RECHECKS_S = (0.02, 0.1, 0.5)
FULL_BATCH_WAIT_S = 0.05

# With as many arrivals within `arrival_rate.WINDOW_S` tasks are fetched this often, and notifications are not needed.
FLOW_COUNT = 10
FLOW_PAUSE_S = 0.003

# A notification reaches every dispatcher that waits, and one of them is its first: the others look a little later, in
# case that one is busy. One that looked in vain waits longer the next time.
STANDBY_S = 0.03
MIN_LOST_RACE_BACKOFF_S, MAX_LOST_RACE_BACKOFF_S = 0.005, 0.25

NO_LISTENER_POLL_S = 0.1
"""Without a connection to be woken on, an idle lane is looked at this often."""


class Lane:
    """One lane of a queue: how far its claims have come, and whether there may be more.

    Args:
        limit: tasks claimed at once.
        poll_s: an idle lane is looked at this often even without a wake-up.
        ageing_s: from this wait on, tasks below the best priority have one place of twenty (0: never).
    """

    def __init__(self, limit: int, poll_s: float, ageing_s: float = 0.0) -> None:
        self.cursor = ClaimCursor(ageing_s)
        self.idle = False
        self._limit, self._poll_s = limit, poll_s
        self._rechecks = 0
        self._next = 0.0
        self._claimed = 0.0
        self._arrivals = ArrivalRate(FLOW_COUNT)
        self._backoff_s = 0.0
        self._woken = False

    def wake(self, *, first: bool = True) -> None:
        """There may be something to claim; another dispatcher is to look first when `first` is false."""
        self._woken = True
        delay_s = self._backoff_s if first else max(STANDBY_S, self._backoff_s)
        self._next = min(self._next, time.monotonic() + delay_s) if delay_s else 0.0

    def wanted(self, room: int) -> int:
        """How many to claim now with `room` for so many; 0 for none.

        With little room a whole batch is waited for a moment: a task costs less in a large claim.
        """
        now = time.monotonic()
        if room <= 0 or now < self._next:
            return 0
        if room < self._limit and now - self._claimed < FULL_BATCH_WAIT_S:
            self._next = self._claimed + FULL_BATCH_WAIT_S
            return 0
        return min(room, self._limit)

    def claimed(self, wanted: int, got: int) -> None:
        """A claim for `wanted` tasks gave `got`."""
        now = time.monotonic()
        self._arrivals.record(got)
        if got:
            self._backoff_s = 0.0
        elif self._woken:
            self._backoff_s = min(max(MIN_LOST_RACE_BACKOFF_S, 2 * self._backoff_s), MAX_LOST_RACE_BACKOFF_S)
        self._woken = False
        if got:
            self._claimed = now
        if got >= wanted:
            self._next = 0.0
            self.idle = False
        elif self.flows:
            self._next = now + FLOW_PAUSE_S
            self.idle = False
        elif self.idle:
            pauses = (*RECHECKS_S, self._poll_s)
            self._next = now + min(pauses[min(self._rechecks, len(pauses) - 1)], self._poll_s)
            self._rechecks += 1

    @property
    def flows(self) -> bool:
        """Whether tasks come so fast that no notification is needed."""
        return self._arrivals.high

    @property
    def soon(self) -> bool:
        """Whether the next look is so near that what ended may wait for it: both are one statement then."""
        return self.flows and self.pause_s() < 2 * FLOW_PAUSE_S

    def become_idle(self) -> None:
        """Submitters know that it is idle from now on: one more look, for what they submitted before they knew."""
        self.idle, self._next, self._rechecks = True, 0.0, 0

    def sleep(self, seconds: float) -> None:
        """Look no earlier than in so many seconds."""
        self._next = time.monotonic() + seconds

    def pause_s(self) -> float:
        """Seconds until the next look."""
        return max(0.0, self._next - time.monotonic())


class Lanes:
    """Both lanes of a queue; submitters can see which of them wait for a notification."""

    def __init__(
        self, queue: str, leases: LeaseStore, claim_batch: int, slow_slots: int, poll_s: float, ageing_s: float = 0.0
    ) -> None:
        self._queue, self._leases = queue, leases
        self.fast = Lane(claim_batch, poll_s, ageing_s)
        self.slow = Lane(min(claim_batch, slow_slots), poll_s, ageing_s)

    def wake(self, lane: str, *, first: bool = True) -> bool:
        """The lane of that name may have tasks; False when it is none of these."""
        for each, slow in ((self.fast, False), (self.slow, True)):
            if lane == lane_name(self._queue, slow):
                each.wake(first=first)
                return True
        return False

    def stop_waiting(self) -> None:
        """The connection that wakes these has ended: submitters do not know any more that they are idle."""
        for lane in (self.fast, self.slow):
            lane.idle = False
            lane.wake()

    async def settle(self, lane: Lane, wanted: int, got: int) -> None:
        """A claim gave `got`: let submitters see when the lane has become idle, or busy again."""
        name = lane_name(self._queue, lane is self.slow)
        was_idle = lane.idle
        lane.claimed(wanted, got)
        if was_idle and not lane.idle:
            await self._leases.wait_in_lane(name, waits=False)
        elif got < wanted and not lane.idle and not lane.flows:
            if await self._leases.wait_in_lane(name, waits=True):
                lane.become_idle()
            else:
                lane.sleep(NO_LISTENER_POLL_S)
