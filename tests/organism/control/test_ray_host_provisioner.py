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

CALL = Call("t-1", 0, 1, "echo", "{}", "a-0000", 1.0, "t-1")


class Actor:
    """A handle whose `status` answers as a test wants it."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.delay_s = 0.0
        self.drained: list[Any] = []
        self.status = self.drain = self.execute = self

    async def remote(self, *given: Any) -> dict[str, Any]:
        self.drained += given
        await asyncio.sleep(self.delay_s)
        if self.error is not None:
            raise self.error
        return {"running": 2, "node": "n-1", "organ": "a"}


class FakeRay:
    """What the pool asks of Ray."""

    exceptions = ray.exceptions

    def __init__(self) -> None:
        self.actors: dict[tuple[str, str], Actor] = {}
        self.options: list[dict[str, Any]] = []
        self.arguments: list[tuple[Any, ...]] = []
        self.killed: list[Actor] = []

    def remote(self, _kind: type) -> "FakeRay.Class":
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
    return RayHostProvisioner(load_settings(namespace="here"), AgentHost)


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
