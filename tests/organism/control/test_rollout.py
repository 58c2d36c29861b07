"""The next steps about hosts: towards what is wanted, one outdated host at a time, never below the minimum."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from seedcore.organism.control.rollout import OUTDATED, TOO_MANY, UNWANTED, HostFacts, RolloutSteps, plan_rollout


def host(number: int, *, current: bool = True, alive: bool = True, draining: bool = False) -> HostFacts:
    return HostFacts(f"h-{number}", number, current, alive, draining)


def test_missing_hosts_are_made():
    assert plan_rollout(3, 1, [host(0), host(1, draining=True)]) == RolloutSteps(create=2)


def test_nothing_to_do():
    assert plan_rollout(2, 1, [host(0), host(1)]) == RolloutSteps()


def test_too_many_go_the_silent_ones_first_then_the_youngest():
    assert plan_rollout(2, 2, [host(0), host(1, alive=False), host(2), host(3)]).drain == (
        ("h-1", TOO_MANY),
        ("h-3", TOO_MANY),
    )


def test_an_organ_that_nobody_wants_is_stopped_at_once():
    assert plan_rollout(0, 0, [host(0), host(1, draining=True)]).drain == (("h-0", UNWANTED),)


def test_where_no_host_can_be_spared_the_successor_comes_first():
    old = host(0, current=False)
    assert plan_rollout(1, 1, [old]) == RolloutSteps(create=1)
    assert plan_rollout(1, 1, [old, host(1, alive=False)]) == RolloutSteps(), "it does not answer yet"
    assert plan_rollout(1, 1, [old, host(1)]).drain == (("h-0", OUTDATED),)
    assert plan_rollout(1, 1, [replace(old, draining=True), host(1)]) == RolloutSteps()


def test_where_a_host_can_be_spared_one_goes_first():
    olds = [host(n, current=False) for n in range(3)]
    assert plan_rollout(3, 1, olds).drain == (("h-0", OUTDATED),)
    assert plan_rollout(3, 1, [replace(olds[0], draining=True), *olds[1:]]) == RolloutSteps(create=1)
    assert plan_rollout(3, 1, [replace(olds[0], draining=True), *olds[1:], host(3)]) == RolloutSteps(), "one at a time"
    assert plan_rollout(3, 1, [*olds[1:], host(3)]).drain == (("h-1", OUTDATED),)


def test_an_outdated_host_that_does_not_answer_is_no_loss():
    assert plan_rollout(1, 1, [host(0, current=False, alive=False)]).drain == (("h-0", OUTDATED),)


@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=8),
    st.lists(st.integers(0, 7), max_size=12),
)
def test_in_the_end_there_are_the_hosts_that_are_wanted_and_never_fewer_than_the_least(want, least, flags, deaths):
    least = min(want, least)
    hosts = [host(n, current=c, alive=a, draining=d) for n, (c, a, d) in enumerate(flags)]
    number = len(hosts)
    for turn in range(60):
        alive_before = sum(h.alive and not h.draining for h in hosts)
        steps = plan_rollout(want, least, hosts)
        drained = {name for name, _ in steps.drain}
        hosts = [replace(h, draining=True) if h.name in drained else h for h in hosts]
        alive_after = sum(h.alive and not h.draining for h in hosts)
        assert alive_after >= min(least, alive_before)
        assert sum(h.alive and not h.current for h in hosts if h.name in drained) <= 1
        # What drains is gone a round later; what was made answers a round later.
        hosts = [replace(h, alive=True) for h in hosts if not h.draining or h.name in drained]
        hosts += [host(number + n, alive=False) for n in range(steps.create)]
        number += steps.create
        assert sum(not h.draining for h in hosts) <= max(want + 1, len(flags))
        if turn < len(deaths) and deaths[turn] < len(hosts):
            hosts[deaths[turn]] = replace(hosts[deaths[turn]], alive=False)
    assert len(hosts) == want
    assert all(h.current and h.alive and not h.draining for h in hosts)
