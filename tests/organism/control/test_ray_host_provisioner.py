"""Hosts on Ray: named, detached, in SeedCore's namespace, and found again by name. Ray itself is faked."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import ray

from seedcore.errors import DeadlineError, UnavailableError
from seedcore.fleet.organ_spec import HostPlan, OrganSpec
from seedcore.organism.control import ray_host_provisioner as module
from seedcore.organism.control.host_provisioner import PingReply
from seedcore.organism.control.ray_host_provisioner import RayHostProvisioner
from seedcore.settings import load_settings
from seedcore.skills.host_protocol import Call
from seedcore.worker.actors.agent_host import AgentHost

PLAN = HostPlan(
    "seedcore-host-a-0",
    "a",
    OrganSpec(num_cpus=1, resources={"tpu": 1}, limits={"agent_concurrency": 3}, roles={"reader": 2}),
)

WORKER = HostPlan("seedcore-dispatcher-4", "~default", OrganSpec(isolation="process"))
CALL = Call("t-1", 0, 1, "echo", "{}", "a-0000", 1.0, "t-1")


class Actor:
    """A handle whose `status` answers as a test wants it."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.delay_s = 0.0
        self.drained: list[Any] = []
        self.answer: dict[str, Any] = {"running": 2, "node": "n-1", "organ": "a"}
        self.status = self.drain = self.execute = self

    async def remote(self, *given: Any) -> dict[str, Any]:
        self.drained += given
        await asyncio.sleep(self.delay_s)
        if self.error is not None:
            raise self.error
        return self.answer


class Method:
    """A method of a worker's handle, which notes its calls."""

    def __init__(self, name: str, calls: list[tuple[Any, ...]]) -> None:
        self.name, self.calls = name, calls
        self.error: Exception | None = None
        self.ends = asyncio.Event()
        self.ends.set()

    async def remote(self, *given: Any) -> None:
        self.calls.append((self.name, *given))
        await self.ends.wait()
        if self.error is not None:
            raise self.error


class OldWorker(Actor):
    """The handle of a dispatcher of the previous release: it has `status` and `stop`."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = {"running": True, "holding": 4, "name": WORKER.name, "last_claim_s": 0.1}
        self.calls: list[tuple[Any, ...]] = []
        self.stop = Method("stop", self.calls)
        del self.drain, self.execute


class Worker(OldWorker):
    """The handle of a worker."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = {"running": 3, "node": "n-2", "organ": "", "holding": 1}
        self.begin_drain = Method("begin_drain", self.calls)


class FakeRay:
    """What the pool asks of Ray."""

    exceptions = ray.exceptions

    def __init__(self) -> None:
        self.actors: dict[tuple[str, str], Actor] = {}
        self.options: list[dict[str, Any]] = []
        self.arguments: list[tuple[Any, ...]] = []
        self.killed: list[Actor] = []
        self.kinds: list[type] = []

    def remote(self, kind: type) -> "FakeRay.Class":
        self.kinds.append(kind)
        return FakeRay.Class(self)

    def nodes(self) -> list[dict[str, Any]]:
        small = {"NodeID": "0" * 56, "Alive": True, "Resources": {"CPU": 8.0}}
        fits = [{"NodeID": f"{n}" * 56, "Alive": n != 3, "Resources": {"CPU": 1.0, "tpu": 1.0}} for n in (1, 2, 3)]
        return [small, *fits]

    def get_actor(self, name: str, namespace: str) -> Actor:
        if (namespace, name) not in self.actors:
            raise ValueError(f"Failed to look up actor {name!r}")
        return self.actors[namespace, name]

    def kill(self, actor: Actor, *, no_restart: bool) -> None:
        assert no_restart
        self.killed.append(actor)
        self.actors = {key: value for key, value in self.actors.items() if value is not actor}

    class Class:
        def __init__(self, ray: "FakeRay") -> None:
            self.ray = ray
            self.given: dict[str, Any] = {}

        def options(self, **given: Any) -> "FakeRay.Class":
            self.given = given
            return self

        def remote(self, *arguments: Any) -> Actor:
            self.ray.options.append(self.given)
            self.ray.arguments.append(arguments)
            key = (self.given["namespace"], self.given["name"])
            return self.ray.actors.setdefault(key, Actor())


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    made = FakeRay()
    monkeypatch.setattr(module, "ray", made)
    return made


def pool() -> RayHostProvisioner:
    return RayHostProvisioner(load_settings(namespace="here", drain_s=30), AgentHost, Worker)


async def test_a_host_is_a_detached_named_actor_that_restarts_for_ever(fake: FakeRay):
    await pool().ensure(PLAN)
    (options,) = fake.options
    assert (
        options.items()
        >= {
            "name": PLAN.name,
            "namespace": "here",
            "lifetime": "detached",
            "get_if_exists": True,
            "max_restarts": -1,
            "num_cpus": 1,
            "resources": {"tpu": 1},
        }.items()
    )
    assert fake.arguments == [(PLAN.name, "a", {"agent_concurrency": 3}, {"reader": 2.0})]


async def test_hosts_of_an_organ_go_to_different_nodes_that_have_what_they_need(fake: FakeRay):
    made = pool()
    for n in range(4):
        await made.ensure(replace(PLAN, name=f"seedcore-host-a-{n}"))
    strategies = [options["scheduling_strategy"] for options in fake.options]
    assert [s.node_id for s in strategies] == [n * 56 for n in "1212"]
    assert all(s.soft for s in strategies)


async def test_where_no_node_has_what_a_host_needs_ray_may_wait_for_one(fake: FakeRay):
    await pool().ensure(replace(PLAN, spec=OrganSpec(num_gpus=1)))
    assert fake.options[0]["scheduling_strategy"] == "SPREAD"


async def test_a_host_is_made_once(fake: FakeRay):
    made = pool()
    for _ in range(3):
        await made.ensure(PLAN)
    assert len(fake.options) == 1
    assert made.handle(PLAN.name) is fake.get_actor(PLAN.name, "here")


async def test_a_host_that_ended_for_good_is_made_anew(fake: FakeRay):
    made = pool()
    await made.ensure(PLAN)
    dead = fake.actors.pop(("here", PLAN.name))
    dead.error = ray.exceptions.ActorDiedError()
    with pytest.raises(ray.exceptions.ActorDiedError):
        await made.ping(PLAN.name)
    await made.ensure(PLAN)
    assert made.handle(PLAN.name) is not dead


async def test_a_host_that_restarts_keeps_its_handle(fake: FakeRay):
    made = pool()
    await made.ensure(PLAN)
    made.handle(PLAN.name).error = ray.exceptions.ActorUnavailableError("restarting", None)
    with pytest.raises(ray.exceptions.ActorUnavailableError):
        await made.ping(PLAN.name)
    await made.ensure(PLAN)
    assert len(fake.options) == 1


async def test_a_host_tells_what_it_has_in_hand_and_where_it_lives(fake: FakeRay):
    made = pool()
    assert await made.ensure(PLAN)
    assert await made.ping(PLAN.name) == PingReply(2, "n-1")


async def test_only_who_makes_a_host_says_so(fake: FakeRay):
    assert await pool().ensure(PLAN)
    assert not await pool().ensure(PLAN)


async def test_hosts_are_listed_whoever_made_them(fake: FakeRay, monkeypatch: pytest.MonkeyPatch):
    actors = [
        {"name": PLAN.name, "namespace": "here"},
        {"name": PLAN.name, "namespace": "elsewhere"},
        {"name": "seedcore-dispatcher-0", "namespace": "here"},
        {"name": "seedcore-reaper", "namespace": "here"},
    ]
    monkeypatch.setattr(module, "list_named_actors", lambda *, all_namespaces: actors if all_namespaces else [])
    assert await pool().names() == [PLAN.name, "seedcore-dispatcher-0"]


async def test_a_removed_host_is_killed_and_may_be_made_again(fake: FakeRay):
    made = pool()
    await made.ensure(PLAN)
    first = made.handle(PLAN.name)
    await made.remove(PLAN.name)
    assert fake.killed == [first]
    await made.ensure(PLAN)
    assert made.handle(PLAN.name) is not first


async def test_a_host_hands_back_what_it_has_before_it_is_retired(fake: FakeRay):
    made = pool()
    await made.ensure(PLAN)
    host = made.handle(PLAN.name)
    await made.retire(PLAN.name)
    assert (host.drained, fake.killed) == ([0.0], [host])


async def test_a_host_that_cannot_hand_back_is_retired_all_the_same(fake: FakeRay):
    made = pool()
    await made.ensure(PLAN)
    host = made.handle(PLAN.name)
    host.error = ray.exceptions.ActorDiedError()
    await made.retire(PLAN.name)
    assert fake.killed == [host]


async def test_a_host_that_an_earlier_process_made_is_found_and_killed(fake: FakeRay):
    await pool().ensure(PLAN)
    await pool().remove(PLAN.name)
    assert len(fake.killed) == 1
    assert fake.actors == {}


async def test_removing_what_is_gone_is_fine(fake: FakeRay):
    await pool().remove("seedcore-host-never-0")
    assert fake.killed == []


@pytest.mark.parametrize(
    ("failure", "raised"),
    [(ray.exceptions.ActorDiedError(), UnavailableError), (TimeoutError(), DeadlineError)],
)
async def test_a_call_on_a_host_that_cannot_answer_says_why(fake: FakeRay, failure: Exception, raised: type[Exception]):
    made = pool()
    await made.ensure(PLAN)
    made.handle(PLAN.name).error = failure
    with pytest.raises(raised, match=PLAN.name):
        await made.execute(PLAN.name, CALL, timeout_s=1.0)


async def test_a_call_on_a_host_that_does_not_exist_may_be_tried_again(fake: FakeRay):
    with pytest.raises(UnavailableError, match="does not exist") as refused:
        await pool().execute("seedcore-host-never-0", CALL, timeout_s=1.0)
    assert refused.value.retry_after_s == 1


async def test_a_worker_is_an_actor_of_its_own_class_with_its_queue(fake: FakeRay):
    made = pool()
    assert await made.ensure(WORKER)
    await made.ensure(HostPlan("seedcore-graph-dispatcher-5", "~graph", WORKER.spec))
    assert fake.kinds == [Worker, Worker]
    assert fake.arguments == [(WORKER.name, "default"), ("seedcore-graph-dispatcher-5", "graph")]
    options = fake.options[0]
    wanted = {"lifetime": "detached", "max_restarts": -1, "max_concurrency": 1000, "num_cpus": 0, "memory": 1}
    assert options.items() >= {"name": WORKER.name, "namespace": "here", "get_if_exists": True, **wanted}.items()
    assert options["scheduling_strategy"].soft


async def test_workers_go_to_different_nodes(fake: FakeRay):
    made = pool()
    for n in range(3):
        await made.ensure(replace(WORKER, name=f"seedcore-dispatcher-{n}"))
    assert len({options["scheduling_strategy"].node_id for options in fake.options}) == 3


def there(fake: FakeRay, worker: OldWorker) -> OldWorker:
    fake.actors["here", WORKER.name] = worker
    return worker


@pytest.mark.parametrize(("kind", "reply"), [(Worker, PingReply(3, "n-2")), (OldWorker, PingReply(4, None))])
async def test_a_worker_of_either_release_tells_what_it_has_in_hand(
    fake: FakeRay, kind: type[OldWorker], reply: PingReply
):
    there(fake, kind())
    assert await pool().ping(WORKER.name) == reply


async def test_a_worker_begins_to_drain_and_a_host_needs_nothing(fake: FakeRay):
    worker, made = there(fake, Worker()), pool()
    await made.ensure(PLAN)
    for _ in range(2):
        await made.begin_drain(WORKER.name)
        await made.begin_drain(PLAN.name)
    assert worker.calls == [("begin_drain",)] * 2
    assert made.handle(PLAN.name).drained == []


async def test_a_worker_that_says_nothing_holds_up_no_round(fake: FakeRay, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "BEGIN_DRAIN_S", 0.01)
    worker = Worker()
    worker.begin_drain.ends.clear()
    there(fake, worker)
    with pytest.raises(TimeoutError):
        await pool().begin_drain(WORKER.name)


async def test_a_worker_of_the_previous_release_is_stopped_once_in_the_background(fake: FakeRay):
    worker, made = there(fake, OldWorker()), pool()
    worker.stop.ends.clear()
    for _ in range(3):
        await made.begin_drain(WORKER.name)
        await asyncio.sleep(0)
    assert worker.calls == [("stop", 30.0)]
    worker.stop.error = ray.exceptions.ActorDiedError()
    worker.stop.ends.set()
    await asyncio.wait(made._stopping.values())
    await made.retire(WORKER.name)
    assert fake.killed == [worker]
    assert made._stopping == {}


@pytest.mark.parametrize("kind", [Worker, OldWorker])
async def test_a_worker_releases_its_leases_before_it_is_killed(fake: FakeRay, kind: type[OldWorker]):
    worker = there(fake, kind())
    await pool().retire(WORKER.name)
    assert (worker.calls, fake.killed) == ([("stop", module.RETIRE_S)], [worker])


async def test_a_worker_needs_a_class(fake: FakeRay):
    with pytest.raises(TypeError, match="no class for workers"):
        await RayHostProvisioner(load_settings(namespace="here"), AgentHost).ensure(WORKER)
