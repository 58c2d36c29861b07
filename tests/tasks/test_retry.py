"""Pauses between attempts."""

from hypothesis import given
from hypothesis import strategies as st

from seedcore.tasks.retry import backoff_s, jittered_s


def test_the_longest_pause_doubles_with_every_attempt_up_to_its_bound():
    assert [backoff_s(n, 2.0, 30.0) for n in (1, 2, 3, 4, 5, 6)] == [2, 4, 8, 16, 30, 30]


@given(st.integers(1, 2**31), st.floats(1e-3, 1e6), st.floats(1e-3, 1e6))
def test_no_attempt_number_waits_longer_than_the_bound(attempt: int, base_s: float, max_s: float):
    assert 0 < backoff_s(attempt, base_s, max_s) <= max_s


@given(st.floats(0, 1e6))
def test_jitter_stays_within_the_pause(longest_s: float):
    assert 0 <= jittered_s(longest_s) <= longest_s


def test_jitter_covers_the_whole_pause():
    drawn = [jittered_s(100.0) for _ in range(2000)]
    assert min(drawn) < 5
    assert max(drawn) > 95
