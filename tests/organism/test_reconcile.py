"""Reconciling: what is wanted is made, what died comes back, and the epoch says when something changed."""

import pytest

from seedcore.organism.organs import HostPlan, HostRange, OrganSpec
from seedcore.organism.reconcile import Reconciler


class Pool:
    """Hosts in memory; a test kills and blocks them."""

    def __init__(self) -> None:
        self.alive: dict[str, HostPlan] = {}
        self.made: list[str] = []
        self.removed: list[str] = []
        self.silent: set[str] = set()
        self.refuse: set[str] = set()
        self.stuck: set[str] = set()

    async def ensure(self, plan: HostPlan) -> None:
        if plan.name in self.refuse:
            raise RuntimeError("no resources")
        if plan.name not in self.alive:
            self.made.append(plan.name)
            self.alive[plan.name] = plan

    async def ping(self, name: str) -> None:
        if name in self.silent or name not in self.alive:
            raise TimeoutError(name)

    async def remove(self, name: str) -> None:
        if name in self.stuck:
            raise ConnectionError("Ray is away")
        self.removed.append(name)
        self.alive.pop(name, None)


A0, A1, B0 = "seedcore-host-a-0", "seedcore-host-a-1", "seedcore-host-b-0"
ORGANS = {"a": OrganSpec(agents=4, hosts=HostRange(min=2, max=2)), "b": OrganSpec(agents=1)}


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def reconciler(pool: Pool) -> Reconciler:
    return Reconciler(pool)


async def test_nothing_wanted_is_not_complete(reconciler: Reconciler, pool: Pool):
    await reconciler.round()
    assert not reconciler.complete
    assert (reconciler.living(), reconciler.epoch, pool.made) == ([], 0, [])


async def test_wanted_hosts_are_unknown_until_they_were_asked(reconciler: Reconciler):
    reconciler.desire(ORGANS)
    assert not reconciler.complete
    assert {state.reason for state in reconciler.hosts.values()} == {"not asked yet"}


async def test_a_round_makes_what_is_wanted(reconciler: Reconciler, pool: Pool):
    reconciler.desire(ORGANS)
    await reconciler.round()
    assert reconciler.living() == sorted(pool.made) == [A0, A1, B0]
    assert reconciler.complete
    assert {state.reason for state in reconciler.hosts.values()} == {None}


async def test_rounds_over_a_healthy_fleet_change_nothing(reconciler: Reconciler, pool: Pool):
    reconciler.desire(ORGANS)
    await reconciler.round()
    epoch = reconciler.epoch
    for _ in range(3):
        await reconciler.round()
    assert (reconciler.epoch, len(pool.made), pool.removed) == (epoch, 3, [])


async def test_a_host_that_dies_is_made_anew_in_the_same_round(reconciler: Reconciler, pool: Pool):
    reconciler.desire(ORGANS)
    await reconciler.round()
    del pool.alive[A1]
    await reconciler.round()
    assert pool.made.count(A1) == 2
    assert reconciler.complete


async def test_a_silent_host_is_lost_and_the_epoch_tells_it_both_ways(reconciler: Reconciler, pool: Pool):
    reconciler.desire(ORGANS)
    await reconciler.round()
    epoch = reconciler.epoch
    pool.silent.add(A0)
    await reconciler.round()
    assert reconciler.living() == [A1, B0]
    assert not reconciler.complete
    assert "TimeoutError" in (reconciler.hosts[A0].reason or "")
    assert reconciler.epoch == epoch + 1
    await reconciler.round()
    assert reconciler.epoch == epoch + 1, "nobody came or went"
    pool.silent.clear()
    await reconciler.round()
    assert (reconciler.complete, reconciler.epoch) == (True, epoch + 2)


async def test_one_host_that_cannot_be_made_holds_up_no_other(reconciler: Reconciler, pool: Pool):
    pool.refuse.add(A0)
    reconciler.desire(ORGANS)
    await reconciler.round()
    assert reconciler.living() == [A1, B0]
    assert reconciler.hosts[A0].reason == "RuntimeError: no resources"
    pool.refuse.clear()
    await reconciler.round()
    assert reconciler.complete


async def test_hosts_that_nobody_wants_any_more_are_removed(reconciler: Reconciler, pool: Pool):
    reconciler.desire(ORGANS)
    await reconciler.round()
    reconciler.desire({"a": OrganSpec(agents=4, hosts=HostRange(min=1, max=1))})
    await reconciler.round()
    assert sorted(pool.removed) == [A1, B0]
    assert reconciler.living() == sorted(pool.alive) == [A0]
    assert reconciler.complete


async def test_a_removal_that_fails_is_tried_again_and_holds_up_nothing(reconciler: Reconciler, pool: Pool):
    reconciler.desire(ORGANS)
    await reconciler.round()
    pool.stuck.add(B0)
    reconciler.desire({"a": ORGANS["a"], "c": OrganSpec(agents=1)})
    await reconciler.round()
    assert reconciler.living() == [A0, A1, "seedcore-host-c-0"]
    assert B0 in pool.alive
    pool.stuck.clear()
    await reconciler.round()
    assert pool.removed == [B0]
    await reconciler.round()
    assert pool.removed == [B0]


async def test_a_host_that_is_wanted_again_is_not_removed(reconciler: Reconciler, pool: Pool):
    reconciler.desire(ORGANS)
    await reconciler.round()
    reconciler.desire({"a": ORGANS["a"]})
    reconciler.desire(ORGANS)
    await reconciler.round()
    assert pool.removed == []
    assert reconciler.living() == [A0, A1, B0]


async def test_living_hosts_live_on_when_their_organ_grows(reconciler: Reconciler, pool: Pool):
    reconciler.desire({"a": OrganSpec(agents=4, hosts=HostRange(min=1, max=1))})
    await reconciler.round()
    epoch = reconciler.epoch
    reconciler.desire({"a": OrganSpec(agents=4, hosts=HostRange(min=2, max=2))})
    assert reconciler.living() == [A0]
    assert reconciler.epoch > epoch, "agents have moved, though no host came or went yet"
    await reconciler.round()
    assert (reconciler.living(), pool.made) == ([A0, A1], [A0, A1])


async def test_wanting_the_same_again_changes_nothing(reconciler: Reconciler, pool: Pool):
    reconciler.desire(ORGANS)
    await reconciler.round()
    epoch = reconciler.epoch
    reconciler.desire(dict(reversed(ORGANS.items())))
    await reconciler.round()
    assert (reconciler.epoch, len(pool.made), pool.removed) == (epoch, 3, [])
