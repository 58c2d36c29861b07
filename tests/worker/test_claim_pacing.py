"""When a dispatcher looks for work, and when it lets itself be called."""

import pytest

from seedcore.tasks.events import arrival_rate
from seedcore.worker import claim_pacing as lanes
from seedcore.worker.claim_pacing import FLOW_COUNT, FLOW_PAUSE_S, FULL_BATCH_WAIT_S, Lane


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(lanes, "time", clock)
    monkeypatch.setattr(arrival_rate, "time", clock)
    return clock


def test_a_full_claim_is_followed_by_the_next_at_once(clock):
    lane = Lane(500, 2.0)
    lane.claimed(500, 500)
    assert lane.wanted(1000) == 500


def test_an_idle_lane_is_looked_at_less_and_less_but_never_later_than_the_poll(clock):
    lane = Lane(500, 2.0)
    lane.become_idle()
    pauses = []
    for _ in range(8):
        assert lane.wanted(1000) == 500
        lane.claimed(500, 0)
        pauses.append(lane.pause_s())
        clock.now += pauses[-1]
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.1
    assert pauses[-1] == pytest.approx(2.0)


def test_tasks_that_come_fast_are_fetched_and_nobody_is_asked_to_call(clock):
    lane = Lane(500, 2.0)
    lane.become_idle()
    lane.claimed(500, FLOW_COUNT)
    assert lane.flows
    assert not lane.idle
    assert lane.soon
    assert lane.wanted(1000) == 0
    clock.now += FLOW_PAUSE_S + 1e-6
    assert lane.wanted(1000) == 500


def test_a_flow_that_ends_leaves_an_idle_lane_again(clock):
    lane = Lane(500, 2.0)
    lane.claimed(500, FLOW_COUNT)
    looks = 0
    while lane.flows:
        clock.now += lane.pause_s() + 1e-6
        assert lane.wanted(1000)
        lane.claimed(500, 0)
        looks += 1
    assert arrival_rate.WINDOW_S / FLOW_PAUSE_S <= looks <= arrival_rate.WINDOW_S / FLOW_PAUSE_S + 2
    assert not lane.idle, "the dispatcher tells submitters first"
    lane.become_idle()
    assert lane.wanted(1000) == 500, "one more look for what came meanwhile"


def test_a_call_ends_the_pause(clock):
    lane = Lane(500, 2.0)
    lane.become_idle()
    for _ in range(5):
        lane.wanted(1000)
        lane.claimed(500, 0)
    assert lane.wanted(1000) == 0
    lane.wake()
    assert lane.wanted(1000) == 500


def test_who_is_not_the_first_looks_a_little_later(clock):
    lane = Lane(500, 2.0)
    lane.become_idle()
    for _ in range(5):
        lane.wanted(1000)
        lane.claimed(500, 0)
    lane.wake(first=False)
    assert lane.wanted(1000) == 0
    assert lane.pause_s() == pytest.approx(lanes.STANDBY_S)
    lane.wake()
    assert lane.wanted(1000) == 500


def test_a_single_task_leaves_the_lane_idle_and_is_followed_by_no_further_look(clock):
    lane = Lane(500, 2.0)
    lane.become_idle()
    for _ in range(5):
        lane.wanted(1000)
        lane.claimed(500, 0)
        clock.now += lane.pause_s()
    lane.wake()
    assert lane.wanted(1000) == 500
    lane.claimed(500, 1)
    assert lane.idle
    assert lane.pause_s() == pytest.approx(2.0)


def test_little_room_waits_a_moment_for_a_whole_batch(clock):
    lane = Lane(500, 2.0)
    lane.claimed(500, 500)
    assert lane.wanted(10) == 0
    clock.now += FULL_BATCH_WAIT_S + 1e-6
    assert lane.wanted(10) == 10
    assert lane.wanted(0) == 0


def test_who_is_called_in_vain_hesitates_longer_and_who_finds_something_does_not(clock):
    lane = Lane(500, 2.0)
    lane.become_idle()
    pauses = []
    for _ in range(10):
        clock.now += 10
        lane.claimed(500, 0)
        lane.wake()
        pauses.append(lane.pause_s())
        clock.now += lane.pause_s() + 1e-6
        assert lane.wanted(1000) == 500
    assert pauses == sorted(pauses)
    assert pauses[0] == 0
    assert pauses[-1] == pytest.approx(lanes.MAX_LOST_RACE_BACKOFF_S)
    lane.claimed(500, 3)
    lane.wake()
    assert lane.wanted(1000) == 500
