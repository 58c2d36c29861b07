"""What chaos does is decided by the seed, and covers every kind of process."""

from itertools import islice

from benchmarks.chaos.plan import KILL, KINDS, OFTEN, STOP, batches, faults

LEASE_S = 5.0


def test_a_seed_gives_the_same_faults_and_tasks_again() -> None:
    assert list(islice(faults(3, 2, LEASE_S), 50)) == list(islice(faults(3, 2, LEASE_S), 50))
    assert list(batches(3, 500)) == list(batches(3, 500))


def test_another_seed_gives_others() -> None:
    assert list(islice(faults(3, 2, LEASE_S), 50)) != list(islice(faults(4, 2, LEASE_S), 50))
    assert list(batches(3, 500)) != list(batches(4, 500))


def test_every_kind_is_killed_and_stopped_before_the_bag_is_filled_again() -> None:
    first = list(islice(faults(1, 2, LEASE_S), 2 * (len(KINDS) + len(OFTEN))))
    assert {(f.kind, f.signal) for f in first} == {(kind, signal) for kind in KINDS for signal in (KILL, STOP)}


def test_most_stops_outlast_the_lease_and_some_do_not() -> None:
    stops = [f.stop_s for f in islice(faults(1, 2, LEASE_S), 400) if f.signal == STOP]
    longer = sum(stop > LEASE_S + 2 for stop in stops)
    assert len(stops) / 2 < longer < len(stops)
    assert all(stop > LEASE_S + 2 or stop < LEASE_S * 0.7 for stop in stops)


def test_some_faults_come_on_top_of_others_and_some_strike_a_whole_kind() -> None:
    drawn = list(islice(faults(1, 2, LEASE_S), 400))
    assert 40 < sum(f.overlaps for f in drawn) < 160
    assert 50 < sum(f.pick is None for f in drawn) < 200


def test_as_many_tasks_as_asked_for_each_under_a_key_of_its_own() -> None:
    tasks = [task for batch in batches(2, 5_000) for task in batch]
    assert len(tasks) == len({task.key for task in tasks}) == 5_000
    assert {task.queue for task in tasks} == {"default", "graph"}
    assert any(task.delay_s for task in tasks)
    assert any(task.max_attempts == 2 for task in tasks)
    assert len({task.limit for task in tasks}) == 4
    sleeps = [task.sleep_ms for task in tasks if task.sleep_ms]
    assert 0.35 < len(sleeps) / len(tasks) < 0.5
    assert min(sleeps) >= 10
    assert max(sleeps) <= 2_000
