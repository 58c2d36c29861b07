"""Scaling: within bounds, no flapping, as many hosts as the load needs."""

from hypothesis import given
from hypothesis import strategies as st

from seedcore.organism.control.autoscaler import DOWN_S, LOW, UP_S, Scale, energy_of, next_scale
from seedcore.pricing.host_need import HIGH, hosts_needed

BOUNDS = st.tuples(st.integers(1, 20), st.integers(0, 30)).map(lambda t: (t[0], t[0] + t[1]))
SLOTS = st.integers(1, 300)


def over_time(scale: Scale, loads: list[int], slots: int, bounds: tuple[int, int], every_s: float = 1.0) -> list[int]:
    seen = []
    for running in loads:
        scale = next_scale(scale, running, slots, every_s, min_hosts=bounds[0], max_hosts=bounds[1])
        seen.append(scale.hosts)
    return seen


@given(st.integers(0, 60), st.lists(st.integers(0, 10_000), max_size=200), SLOTS, BOUNDS)
def test_the_number_of_hosts_stays_within_its_bounds(start, loads, slots, bounds):
    assert all(bounds[0] <= hosts <= bounds[1] for hosts in over_time(Scale(start), loads, slots, bounds))


@given(st.integers(0, 60), st.integers(0, 10_000), SLOTS, BOUNDS, st.floats(0.1, 5))
def test_at_a_constant_load_the_number_changes_at_most_once_and_then_fits(start, running, slots, bounds, every_s):
    start = min(max(start, bounds[0]), bounds[1])
    seen = over_time(Scale(start), [running] * int(3 * DOWN_S / every_s + 5), slots, bounds, every_s)
    changes = sum(a != b for a, b in zip([start, *seen], seen, strict=False))
    assert changes <= 1
    hosts = seen[-1]
    assert running <= HIGH * slots * hosts + 1e-6 or hosts == bounds[1]
    assert hosts == bounds[0] or running > LOW * slots * (hosts - 1) - 1e-6


def test_a_load_over_the_high_mark_needs_time_to_count():
    seen = over_time(Scale(1), [100] * 6, 50, (1, 8))
    assert seen == [1, 1, 1, 1, 3, 3]
    assert UP_S == 5


def test_a_short_peak_changes_nothing():
    assert set(over_time(Scale(1), [100, 100, 0, 100, 100, 0] * 20, 50, (1, 8))) == {1}


def test_fewer_hosts_only_after_a_long_quiet_time_and_no_fewer_than_its_peak_needed():
    quiet = [10] * 30 + [60] + [10] * 29
    assert over_time(Scale(4), quiet[:-1], 50, (1, 8))[-1] == 4
    assert over_time(Scale(4), quiet, 50, (1, 8))[-1] == 3


@given(st.integers(1, 60), st.integers(0, 5000), SLOTS)
def test_the_least_energy_is_that_of_as_many_hosts_as_put_the_load_at_the_high_mark(hosts, running, slots):
    best = min(range(1, 70), key=lambda h: energy_of(h, running, slots))
    needed = max(1, -(-running * 5 // (4 * slots)))
    if needed < 69:
        assert energy_of(best, running, slots) >= energy_of(needed, running, slots) - 1e-9
    assert HIGH == 0.8


@given(st.integers(1, 20), st.lists(st.integers(0, 4000), min_size=1, max_size=200), SLOTS)
def test_every_change_of_the_number_lowers_the_energy_at_the_load_of_that_moment(start, loads, slots):
    scale = Scale(start)
    for running in loads:
        before = scale.hosts
        scale = next_scale(scale, running, slots, 2.0, min_hosts=1, max_hosts=20)
        if scale.hosts != before:
            assert energy_of(scale.hosts, running, slots) <= energy_of(before, running, slots) + 1e-9


@given(running=st.integers(0, 500), foreseen=st.floats(0, 500), slots=st.integers(1, 50), hosts=st.integers(1, 20))
def test_what_is_foreseen_adds_hosts_within_bounds_and_never_takes_any(running, foreseen, slots, hosts):
    bounds = {"min_hosts": 1, "max_hosts": 20}
    without = next_scale(Scale(hosts), running, slots, UP_S, **bounds)
    ahead = next_scale(Scale(hosts), running, slots, UP_S, foreseen=foreseen, **bounds)
    assert without.hosts <= ahead.hosts <= 20 or ahead.hosts == min(hosts_needed(foreseen, slots), 20)
    assert ahead.hosts >= min(hosts_needed(foreseen, slots), 20)


def test_a_foreseen_load_starts_hosts_at_once_and_keeps_them_until_it_is_over():
    scale = next_scale(Scale(1), 0, 10, 1.0, min_hosts=1, max_hosts=8, foreseen=31.0)
    assert scale.hosts == 4
    for _ in range(3):
        scale = next_scale(scale, 0, 10, DOWN_S, min_hosts=1, max_hosts=8, foreseen=31.0)
        assert scale.hosts == 4
    assert next_scale(scale, 0, 10, DOWN_S, min_hosts=1, max_hosts=8).hosts == 1
