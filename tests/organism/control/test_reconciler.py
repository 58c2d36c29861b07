"""Reconciling: what is wanted is made, what died comes back, what goes is drained first."""

import asyncio

import pytest

from seedcore.fleet.organ_spec import OrganSpec
from seedcore.organism.control import liveness as liveness_module
from seedcore.organism.control import reconciler as module
from seedcore.organism.control.host import DEFAULT_POOL, GRAPH_POOL, UNPLANNED, Host, host_name, organ_of_host
from seedcore.organism.control.host_provisioner import PingReply
from seedcore.organism.control.liveness import RESTART_S, SILENT_S, START_S, SUSPECT_S
from seedcore.organism.control.reconciler import SETTLE_S, Reconciler
from seedcore.organism.desired.desired_state import Organ
from tests.organism.fake_hosts import FakeHosts

DRAIN_S = 60.0


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Fleet:
    """A reconciler, and rounds as its leader does them."""

    def __init__(self, pool: FakeHosts, clock: Clock) -> None:
        self.pool, self.clock = pool, clock
        self.version = "1"
        self.reconciler = Reconciler(pool, lambda o: f"{self.version}/{o.spec.num_cpus}", lambda _o: 10, DRAIN_S)
        self.number = 0

    async def round(self, organs: dict[str, Organ], after_s: float = 1.0) -> None:
        self.clock.now += after_s
        reconciler = self.reconciler
        await reconciler.observe(organs)
        await reconciler.remove_drained()
        make, _ = reconciler.plan(organs)
        for name, count in sorted(make.items()):
            for _ in range(count):
                self.number += 1
                reconciler.add_host(organs[name], self.number)

    async def rounds(self, organs: dict[str, Organ], seconds: int) -> None:
        for _ in range(seconds):
            await self.round(organs)

    def living(self) -> list[str]:
        return sorted(host.name for host in self.reconciler.hosts.values() if host.takes_tasks)

    def host(self, name: str) -> Host:
        return self.reconciler.hosts[name]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    monkeypatch.setattr(liveness_module, "time", made)
    monkeypatch.setattr(liveness_module, "PING_TIMEOUT_S", 0.02)
    return made


@pytest.fixture
def pool() -> FakeHosts:
    return FakeHosts()


@pytest.fixture
def fleet(pool: FakeHosts, clock: Clock) -> Fleet:
    return Fleet(pool, clock)


def organ(name: str = "a", least: int = 1, most: int | None = None, **fields: object) -> dict[str, Organ]:
    spec = {"agents": 8, "isolation": "process", "hosts": {"min": least, "max": most or least}, **fields}
    return {name: Organ(name, OrganSpec.model_validate(spec))}


ONE, TWO = organ(), organ(least=2)
A1, A2, A3 = (host_name("a", n) for n in (1, 2, 3))


def test_a_workers_name_tells_its_pool():
    assert [host_name(pool, 7) for pool in (DEFAULT_POOL, GRAPH_POOL)] == [
        "seedcore-dispatcher-7",
        "seedcore-graph-dispatcher-7",
    ]
    for pool in (DEFAULT_POOL, GRAPH_POOL):
        assert organ_of_host(host_name(pool, 7)) == pool
    others = ("seedcore-reaper", "seedcore-dispatcher", "seedcore-dispatcher-x", "seedcore-slow-dispatcher-1")
    assert [organ_of_host(name) for name in others] == [None] * 4


def test_agents_live_on_a_worker_only_when_this_release_planned_it():
    planned, old = Host("w", DEFAULT_POOL, "1", alive=True), Host("w", DEFAULT_POOL, UNPLANNED, alive=True)
    assert (planned.keeps_agents, old.keeps_agents, old.takes_tasks) == (True, False, True)
    assert Host("h", "a", UNPLANNED, alive=True).keeps_agents, "a host is always one that runs skills"


def test_a_name_tells_the_organ():
    assert organ_of_host(host_name("my-organ-2", 7)) == "my-organ-2"
    assert [organ_of_host(name) for name in ("seedcore-host-", "seedcore-host-7", "seedcore-host-a-x", "a-7")] == [
        None
    ] * 4


async def test_what_is_wanted_is_made_and_then_left_alone(fleet: Fleet, pool: FakeHosts):
    await fleet.rounds({**TWO, **organ("b")}, 2)
    assert fleet.living() == sorted(pool.made) == [A1, A2, host_name("b", 3)]
    await fleet.rounds({**TWO, **organ("b")}, 100)
    assert (len(pool.made), pool.removed) == (3, [])


async def test_a_host_that_dies_is_made_anew(fleet: Fleet, pool: FakeHosts):
    await fleet.rounds(TWO, 2)
    del pool.alive[A2]
    await fleet.round(TWO)
    assert fleet.living() == [A1, A2]
    assert pool.made.count(A2) == 2


async def test_a_host_that_restarts_gets_no_tasks_until_it_answers(fleet: Fleet, pool: FakeHosts):
    await fleet.rounds(TWO, 2)
    pool.dead.add(A1)
    await fleet.rounds(TWO, 5)
    assert fleet.living() == [A2]
    assert "is dead" in (fleet.host(A1).reason or "")
    pool.dead.clear()
    await fleet.round(TWO)
    assert fleet.living() == [A1, A2]
    assert (pool.made, pool.removed) == ([A1, A2], [])


async def test_a_host_that_says_nothing_is_passed_over_and_then_made_anew(fleet: Fleet, pool: FakeHosts):
    await fleet.rounds(TWO, 2)
    pool.silent.add(A1)
    await fleet.rounds(TWO, int(SUSPECT_S) - 1)
    assert fleet.living() == [A1, A2]
    await fleet.rounds(TWO, 3)
    assert fleet.living() == [A2]
    await fleet.rounds(TWO, int(SILENT_S - SUSPECT_S) + 2)
    assert pool.removed == [A1]
    assert fleet.living() == [A1, A2]
    assert pool.made.count(A1) == 2


async def test_a_question_that_ray_cancels_is_a_host_that_does_not_answer_and_ends_no_round(fleet: Fleet, pool):
    await fleet.rounds(TWO, 2)
    pool.cancels.add(A1)
    await fleet.rounds(TWO, 2)
    assert fleet.living() == [A2]
    pool.cancels.clear()
    await fleet.round(TWO)
    assert fleet.living() == [A1, A2]


async def test_a_host_that_comes_to_itself_in_time_is_kept(fleet: Fleet, pool: FakeHosts):
    await fleet.rounds(TWO, 2)
    pool.silent.add(A1)
    await fleet.rounds(TWO, int(SUSPECT_S) + 3)
    pool.silent.clear()
    health = fleet.reconciler._liveness.health(A1)
    assert health.ping is not None
    health.ping.cancel()  # the fake host forgets its callers; a real one would answer now
    health.ping = None
    await fleet.rounds(TWO, int(SILENT_S))
    assert (fleet.living(), pool.removed) == ([A1, A2], [])


async def test_a_host_that_starts_has_longer(fleet: Fleet, pool: FakeHosts):
    pool.silent |= {A1}
    await fleet.rounds(ONE, int(START_S) - 5)
    assert pool.removed == []
    await fleet.rounds(ONE, 15)
    assert pool.removed == [A1]


async def test_a_host_that_never_answers_gets_its_whole_time_again_once_it_was_made_anew(fleet: Fleet, pool: FakeHosts):
    pool.unresponsive.add(A1)
    await fleet.rounds(ONE, int(START_S) + 5)
    assert (pool.removed, pool.made) == ([A1], [A1, A1])
    await fleet.rounds(ONE, int(START_S) - 10)
    assert pool.removed == [A1]
    await fleet.rounds(ONE, 10)
    assert pool.removed == [A1, A1]


async def test_a_host_whose_restart_never_ends_is_made_anew_sooner_than_one_that_starts(fleet: Fleet, pool: FakeHosts):
    await fleet.rounds(TWO, 2)
    pool.dead.add(A1)
    await fleet.round(TWO)
    pool.dead.clear()
    pool.silent.add(A1)
    await fleet.rounds(TWO, int(RESTART_S) - 2)
    assert (fleet.living(), pool.removed) == ([A2], [])
    await fleet.rounds(TWO, 5)
    assert (fleet.living(), pool.removed) == ([A1, A2], [A1])


async def test_a_host_that_only_ever_says_that_it_restarts_is_made_anew(fleet: Fleet, pool: FakeHosts):
    await fleet.rounds(TWO, 2)
    pool.dead.add(A1)
    await fleet.rounds(TWO, int(RESTART_S) + 3)
    assert pool.removed == [A1]


async def test_one_organ_that_cannot_be_made_holds_up_no_other(fleet: Fleet, pool: FakeHosts):
    pool.refuse.add("b")
    both = {**ONE, **organ("b")}
    await fleet.rounds(both, 3)
    assert fleet.living() == [A1]
    assert fleet.host(host_name("b", 2)).reason == "RuntimeError: no resources"
    pool.refuse.clear()
    await fleet.rounds(both, 2)
    assert fleet.living() == [A1, host_name("b", 2)]


async def test_a_host_drains_until_it_has_nothing_in_hand(fleet: Fleet, pool: FakeHosts):
    await fleet.rounds({**ONE, **organ("b")}, 2)
    b = host_name("b", 2)
    pool.running[b] = 3
    await fleet.rounds(ONE, 20)
    assert fleet.living() == [A1], "it gets no tasks"
    assert b in pool.alive
    pool.running[b] = 0
    await fleet.rounds(ONE, 2)
    assert (pool.removed, list(pool.alive)) == ([b], [A1])


async def test_an_idle_host_is_stopped_no_sooner_than_everybody_knows(fleet: Fleet, pool: FakeHosts):
    await fleet.rounds(ONE, 2)
    await fleet.round({})
    await fleet.rounds({}, int(SETTLE_S))
    assert A1 in pool.alive
    await fleet.rounds({}, 2)
    assert (pool.alive, fleet.reconciler.hosts) == ({}, {})


async def test_a_host_that_never_ends_its_tasks_is_stopped_when_its_time_is_up(fleet: Fleet, pool: FakeHosts):
    await fleet.rounds(ONE, 2)
    pool.running[A1] = 1
    await fleet.rounds({}, int(DRAIN_S))
    assert A1 in pool.alive
    await fleet.rounds({}, 3)
    assert pool.alive == {}


async def test_a_removal_that_fails_is_tried_again(fleet: Fleet, pool: FakeHosts):
    await fleet.rounds(ONE, 2)
    pool.stuck.add(A1)
    await fleet.rounds({}, 10)
    assert A1 in pool.alive
    pool.stuck.clear()
    await fleet.rounds({}, 1)
    assert (pool.alive, pool.removed) == ({}, [A1])


async def test_an_organ_grows_and_shrinks_with_its_load(fleet: Fleet, pool: FakeHosts):
    wanted = organ(least=1, most=3)
    await fleet.rounds(wanted, 2)
    pool.running[A1] = 20
    await fleet.rounds(wanted, 10)
    assert fleet.living() == [A1, A2, A3]
    pool.running[A1] = 0
    await fleet.rounds(wanted, 55)
    assert len(fleet.living()) == 3
    await fleet.rounds(wanted, 15)
    assert fleet.living() == [A1]
    assert sorted(pool.removed) == [A2, A3]


async def test_a_new_version_replaces_hosts_one_by_one_and_never_below_the_minimum(fleet: Fleet, pool: FakeHosts):
    await fleet.rounds(TWO, 2)
    fleet.version = "2"
    seen = set()
    for _ in range(40):
        await fleet.round(TWO)
        seen.add(len(fleet.living()))
        assert len(fleet.living()) >= 2
    assert fleet.living() == [A3, host_name("a", 4)]
    assert sorted(pool.removed) == [A1, A2]
    assert {fleet.host(name).fingerprint for name in fleet.living()} == {"2/0.0"}


async def test_changed_resources_reach_running_hosts(fleet: Fleet, pool: FakeHosts):
    await fleet.rounds(ONE, 2)
    bigger = organ(num_cpus=2)
    await fleet.rounds(bigger, 12)
    assert [plan.spec.num_cpus for plan in pool.alive.values()] == [2]


async def test_hosts_that_nobody_planned_are_kept_for_wanted_organs_until_a_successor_lives(fleet: Fleet, pool):
    for name in (host_name("a", 0), host_name("gone", 0)):
        pool.alive[name] = None
    await fleet.reconciler.adopt_unplanned(ONE)
    assert pool.removed == [host_name("gone", 0)]
    await fleet.round(ONE)
    assert fleet.living() == [host_name("a", 0)]
    await fleet.rounds(ONE, 10)
    assert fleet.living() == [A1]
    assert host_name("a", 0) not in pool.alive


async def test_another_leader_goes_on_where_one_stopped(fleet: Fleet, pool: FakeHosts, clock: Clock):
    await fleet.rounds({**ONE, **organ("b")}, 2)
    b = host_name("b", 2)
    pool.running[b] = 1
    await fleet.rounds(ONE, 5)
    second = Fleet(pool, clock)
    second.number = fleet.number
    hosts = {h.name: Host(h.name, h.organ, h.fingerprint, drain_reason=h.drain_reason) for h in [fleet.host(A1)]}
    hosts[b] = Host(b, "b", "1/0.0", drain_reason="no longer wanted", draining_s=DRAIN_S - 1)
    second.reconciler.take_over(hosts)
    await second.round(ONE)
    assert second.living() == [A1]
    assert b in pool.alive
    await second.rounds(ONE, 2)
    assert list(pool.alive) == [A1], "the time that it drained for the one before counts"
    assert pool.made == [A1, b]


async def test_a_node_that_comes_later_gets_a_host_and_the_successor_comes_first(fleet: Fleet, pool: FakeHosts):
    wanted = organ(least=2)
    await fleet.rounds(wanted, 5)
    assert {pool.homes[name] for name in fleet.living()} == {"node-1"}
    pool.there = ["node-1", "node-2"]
    fewest = 2
    for _ in range(90):
        await fleet.round(wanted)
        fewest = min(fewest, len(fleet.living()))
    assert fewest == 2
    assert sorted(pool.homes[name] for name in fleet.living()) == ["node-1", "node-2"]
    made = len(pool.made)
    await fleet.rounds(wanted, 200)
    assert len(pool.made) == made == 3


async def test_nothing_moves_while_nodes_are_not_known(fleet: Fleet, pool: FakeHosts, monkeypatch: pytest.MonkeyPatch):
    async def nodes(_organs: object) -> dict[str, list[str]]:
        raise ConnectionError("the GCS is away")

    wanted = organ(least=2)
    await fleet.rounds(wanted, 5)
    pool.there = ["node-1", "node-2"]
    monkeypatch.setattr(pool, "nodes", nodes)
    await fleet.rounds(wanted, 100)
    assert len(pool.made) == 2


async def test_workers_that_drain_are_told_in_every_round_and_a_failure_is_tried_again(
    fleet: Fleet, pool: FakeHosts, monkeypatch: pytest.MonkeyPatch
):
    pools = {DEFAULT_POOL: Organ(DEFAULT_POOL, organ(least=2)["a"].spec)}
    await fleet.rounds(pools, 2)
    fleet.reconciler.plan({})
    one, two = sorted(fleet.reconciler.hosts)
    begin, failed = pool.begin_drain, [one]

    async def begin_drain(name: str) -> None:
        if name in failed:
            failed.remove(name)
            raise ConnectionError("it restarts")
        await begin(name)

    monkeypatch.setattr(pool, "begin_drain", begin_drain)
    await fleet.reconciler.begin_drains()
    await fleet.reconciler.begin_drains()
    assert sorted(pool.begun) == [one, two, two]


async def test_a_round_does_not_wait_for_hosts_that_start_and_their_first_reply_is_told(
    fleet: Fleet, pool: FakeHosts, monkeypatch: pytest.MonkeyPatch
):
    told, started = asyncio.Event(), asyncio.Event()
    fleet.reconciler.on_late_reply = told.set
    monkeypatch.setattr(liveness_module, "PING_TIMEOUT_S", 60.0)
    ping = pool.ping

    async def slow(name: str) -> PingReply:
        if name == A2:
            await started.wait()
        return await ping(name)

    monkeypatch.setattr(pool, "ping", slow)
    async with asyncio.timeout(10):
        await fleet.rounds(TWO, 3)
        assert fleet.living() == [A1]
        assert not told.is_set()
        started.set()
        await told.wait()
        await fleet.round(TWO)
    assert fleet.living() == [A1, A2]


async def test_a_first_ping_that_fails_waits_for_the_next_round(fleet: Fleet, pool: FakeHosts, monkeypatch):
    """Else a host that fails at once again and again would keep the loop busy."""
    told: list[int] = []
    fleet.reconciler.on_late_reply = lambda: told.append(1)
    monkeypatch.setattr(liveness_module, "FIRST_PING_S", 0.0)
    pool.dead.add(A1)
    await fleet.rounds(ONE, 2)
    await asyncio.sleep(0.05)
    assert told == []


async def test_how_many_nodes_live_is_remembered_while_nobody_can_say(fleet: Fleet, pool: FakeHosts, monkeypatch):
    pools = {DEFAULT_POOL: Organ(DEFAULT_POOL, organ()["a"].spec)}
    assert fleet.reconciler.node_count is None
    pool.there = ["node-1", "node-2"]
    await fleet.round(pools)

    async def nodes(_organs: object) -> dict[str, list[str]]:
        raise ConnectionError("the GCS is away")

    monkeypatch.setattr(pool, "nodes", nodes)
    await fleet.round(pools)
    assert fleet.reconciler.node_count == 2


async def test_a_host_that_takes_long_to_hand_back_holds_up_no_round(
    fleet: Fleet, pool: FakeHosts, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "RETIRE_WAIT_S", 0.01)
    await fleet.rounds({**ONE, **organ("b")}, 2)
    b, handed_back = host_name("b", 2), asyncio.Event()

    async def retire(name: str) -> None:
        await handed_back.wait()
        await pool.remove(name)

    monkeypatch.setattr(pool, "retire", retire)
    async with asyncio.timeout(10):
        await fleet.rounds(ONE, 10)
        assert fleet.host(b).drain_reason is not None
        handed_back.set()
        while b in fleet.reconciler.hosts:
            await fleet.round(ONE)
    assert pool.removed == [b]
