"""Rows of several workers reach a stream's monitors in one order, none waits long, and a lone worker's not at all."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.changepoint.features import OUTCOME_COLUMNS, TASK_COLUMNS
from seedcore.coordinator.monitors.row_feeder import RowFeeder
from seedcore.coordinator.monitors.row_merge import MAX_WAITING, MEMBER_S, SILENT_S, RowMerge
from seedcore.coordinator.monitors.stream_monitors import StreamMonitors
from seedcore.schemas.stream_rows import StreamRows


class Coordinator:
    """Streams with a clock that the test sets; a row of a task holds its place."""

    def __init__(self) -> None:
        self.now = 100.0
        self.streams = StreamMonitors(restored=True, clock=lambda: self.now)

    def report(self, worker: str, *places: int, at: float | None = None, ordered: bool = True) -> None:
        """A worker reports tasks; without any it reports nothing of the stream."""
        self.now = self.now if at is None else 100.0 + at
        found = StreamRows(
            type="echo",
            seen=len(places),
            tasks=[[float(place)] * TASK_COLUMNS for place in places],
            outcomes=[[float(place)] * OUTCOME_COLUMNS for place in places],
        )
        if ordered:
            found |= StreamRows(type="echo", order=list(places), outcome_order=list(places))
        self.streams.observe([found] if places else [], worker)

    def tick(self, at: float) -> bool:
        self.now = 100.0 + at
        return self.streams.feed()

    @property
    def fed(self) -> list[int]:
        """The places in the order in which both monitors saw them."""
        stream = self.streams.get("echo")
        work, outcome = (monitor.recent[:, 0].astype(int).tolist() for monitor in stream.monitors.values())
        assert work == outcome
        return work


def test_a_lone_workers_rows_are_watched_at_once_and_in_order():
    coordinator = Coordinator()
    coordinator.report("a", 3, 1, 2)
    assert coordinator.fed == [1, 2, 3]
    coordinator.report("a", 4)
    assert coordinator.fed == [1, 2, 3, 4]
    assert not coordinator.streams.waiting


def test_rows_of_two_workers_are_watched_in_the_order_of_the_stream():
    coordinator = Coordinator()
    coordinator.report("a", 1, at=0.0)
    coordinator.report("b", 2, 3, at=0.2)
    assert coordinator.fed == [1], "a may have claimed something before 2"
    coordinator.report("a", 4, 6, 7, at=0.5)
    assert coordinator.fed == [1, 2, 3], "b may have claimed 5"
    coordinator.report("b", 5, 8, at=0.7)
    assert coordinator.fed == [1, 2, 3, 4, 5, 6, 7], "a may have claimed something before 8"
    report = coordinator.streams.get("echo").report()
    assert (report["tasks"], report["work"]["observed"], report["waiting"], report["sampled"]) == (8, 7, 2, False)


def test_a_worker_that_reports_nothing_of_a_stream_holds_its_rows_up_no_longer():
    coordinator = Coordinator()
    coordinator.report("a", 1, at=0.0)
    coordinator.report("b", 2, at=0.2)
    coordinator.report("a", at=0.5)
    assert coordinator.tick(0.5)
    assert coordinator.fed == [1, 2]
    assert not coordinator.tick(0.75)


def test_a_silent_worker_is_waited_for_no_longer_than_its_longest_interval():
    coordinator = Coordinator()
    coordinator.report("a", 1, at=0.0)
    coordinator.report("b", 2, at=0.2)
    assert not coordinator.tick(SILENT_S - 0.01)
    assert coordinator.tick(SILENT_S)
    assert coordinator.fed == [1, 2]
    coordinator.report("b", 3, at=SILENT_S + 0.1)
    assert coordinator.fed == [1, 2, 3], "a is gone"


def test_a_worker_that_has_done_nothing_of_a_stream_for_long_is_not_waited_for():
    coordinator = Coordinator()
    coordinator.report("a", 1, at=0.0)
    for n in range(int(MEMBER_S)):
        coordinator.report("a", at=float(n))
    coordinator.report("a", at=MEMBER_S)
    coordinator.report("b", 2, at=MEMBER_S)
    assert coordinator.fed == [1, 2]


def test_rows_that_come_late_are_watched_as_soon_as_others():
    coordinator = Coordinator()
    coordinator.report("a", 10, at=0.0)
    coordinator.report("b", 12, at=0.2)
    coordinator.report("a", 5, 13, at=0.5)
    assert coordinator.fed == [10, 5, 12]


def test_rows_without_places_are_watched_as_they_come():
    coordinator = Coordinator()
    coordinator.report("old-1", 3, 1, ordered=False)
    coordinator.report("old-2", 2, ordered=False)
    assert coordinator.fed == [3, 1, 2]
    assert not coordinator.streams.waiting


def test_rows_whose_places_do_not_match_them_are_watched_as_they_come():
    streams = StreamMonitors(restored=True)
    rows = [[float(n)] * TASK_COLUMNS for n in (2, 1)]
    streams.observe([StreamRows(type="echo", seen=2, tasks=rows, order=[2])], "a")
    assert streams.get("echo").work.recent[:, 0].tolist() == [2, 1]


def test_rows_of_other_features_are_left_out_with_their_places():
    streams = StreamMonitors(restored=True)
    rows = [[3.0] * TASK_COLUMNS, [2.0], [1.0] * TASK_COLUMNS]
    streams.observe([StreamRows(type="echo", seen=3, tasks=rows, order=[3, 2, 1])], "a")
    assert streams.get("echo").work.recent[:, 0].tolist() == [1, 3]


def test_what_waits_is_bounded_and_the_first_rows_go_early():
    merge = RowMerge(1)
    places = list(range(MAX_WAITING + 10))
    merge.add(places, np.array([places], dtype=np.float32).T)
    assert merge.take(["silent"])[:, 0].tolist() == list(range(10))
    assert len(merge) == MAX_WAITING
    assert len(merge.take([])) == MAX_WAITING


def test_workers_that_are_gone_are_forgotten():
    coordinator = Coordinator()
    for n in range(200):
        coordinator.report(f"a{n}", n, at=float(n))
    assert len(coordinator.streams.get("echo").reporters) <= MEMBER_S + 1
    assert len(coordinator.streams._heard) <= MEMBER_S + 1


def test_all_that_waits_is_watched_before_the_monitors_are_saved():
    coordinator = Coordinator()
    coordinator.report("a", 1)
    coordinator.report("b", 3, 2)
    coordinator.streams.feed_all()
    assert (coordinator.fed, coordinator.streams.waiting) == ([1, 2, 3], False)


async def test_rows_that_wait_are_fed_in_the_background_within_the_longest_interval():
    streams, changed = StreamMonitors(restored=True), asyncio.Event()
    feeder = RowFeeder(streams, changed)
    running = asyncio.create_task(feeder.run())
    rows = [[1.0] * TASK_COLUMNS]
    for worker, place in (("a", 1), ("b", 2)):
        streams.observe([StreamRows(type="echo", seen=1, tasks=rows, order=[place])], worker)
        feeder.want()
    assert streams.get("echo").work.observed == 1
    async with asyncio.timeout(SILENT_S + 1):
        await changed.wait()
    assert streams.get("echo").work.observed == 2
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.001, 0.2)), min_size=1, max_size=120), st.data())
def test_whatever_the_workers_rows_that_are_reported_in_time_come_in_order_and_none_is_lost(tasks, data):
    """Workers claim tasks in order, each reports at most every half second at times of its own."""
    coordinator, claimed, clock = Coordinator(), {n: [] for n in range(4)}, 0.0
    due = {n: data.draw(st.floats(0.0, 0.5), label="phase") for n in range(4)}
    for worker in range(4):
        coordinator.report(f"w{worker}", worker, at=0.0)
    coordinator.streams.feed_all()
    first = len(coordinator.fed)
    # The same workers reported the stream a moment ago.
    for worker in range(4):
        coordinator.report(f"w{worker}", at=0.0)
    for place, (worker, gap) in enumerate(tasks, start=10):
        clock += gap
        while min(due.values()) <= clock:
            reporter = min(due, key=due.get)
            coordinator.report(f"w{reporter}", *claimed[reporter], at=due[reporter])
            claimed[reporter].clear()
            due[reporter] += 0.5
        claimed[worker].append(place)
    for worker in sorted(due, key=due.get):
        coordinator.report(f"w{worker}", *claimed[worker], at=due[worker])
    coordinator.tick(clock + 0.5 + SILENT_S)
    assert coordinator.fed[first:] == list(range(10, 10 + len(tasks)))


@pytest.mark.parametrize("workers", [2, 4])
def test_no_row_waits_longer_than_an_interval_of_reports_while_all_workers_report(workers):
    coordinator, place = Coordinator(), 0
    reported_at: dict[int, float] = {}
    longest = 0.0
    for turn in range(40 * workers):
        at = turn * 0.5 / workers
        known = set(coordinator.fed) if turn else set()
        places = list(range(place, place + 3))
        place += 3
        reported_at |= dict.fromkeys(places, at)
        coordinator.report(f"w{turn % workers}", *places, at=at)
        longest = max([longest, *(at - reported_at[n] for n in set(coordinator.fed) - known)])
    assert longest <= 0.5
