"""Pools that nobody declares: how many workers, and what a quarantined skill runs in."""

import re
from datetime import UTC, datetime

import pytest

from seedcore.fleet.organ_spec import HostRange, OrganSpec
from seedcore.fleet.quarantine_repository import QuarantinedSkill
from seedcore.organism.control.host import DEFAULT_POOL, GRAPH_POOL, host_name, organ_of_host
from seedcore.organism.control.reserved_pools import quarantine_id, quarantine_pools, wanted_workers, worker_pools
from seedcore.organism.desired.desired_state import Organ
from seedcore.schemas.organism import MAX_WORKERS, WorkerNumbers
from seedcore.skills.skill_decorator import ORGAN

NOW = datetime.now(UTC)


def quarantined(*skills: str) -> list[QuarantinedSkill]:
    return [QuarantinedSkill(skill, NOW, NOW, 3, "it ends processes") for skill in skills]


def test_there_are_as_many_workers_as_are_set():
    numbers = WorkerNumbers(default=3, graph=1)
    assert wanted_workers(numbers, nodes=5) == {DEFAULT_POOL: 3, GRAPH_POOL: 1}
    pools = worker_pools(numbers, 5)
    assert {name: (pool.spec.min_hosts, pool.spec.max_hosts) for name, pool in pools.items()} == {
        DEFAULT_POOL: (3, 3),
        GRAPH_POOL: (1, 1),
    }
    assert all(pool.spec.own_hosts and not pool.spec.num_cpus for pool in pools.values())


def test_workers_by_node_take_the_place_of_a_number_up_to_a_bound():
    numbers = WorkerNumbers(default=3, graph=1, per_node=2)
    assert [wanted_workers(numbers, nodes)[DEFAULT_POOL] for nodes in (1, 4, 1000)] == [2, 8, MAX_WORKERS]


def test_a_queue_without_workers_has_no_pool():
    assert list(worker_pools(WorkerNumbers(default=0, graph=2), 1)) == [GRAPH_POOL]


def test_a_quarantined_skill_reserves_what_its_organ_does():
    organs = {"gpu": Organ("gpu", OrganSpec(agents=9, num_gpus=1, hosts=HostRange(min=2, max=4), domains=["x"]))}
    pool = quarantine_pools(quarantined("acme.see"), {"acme.see": "gpu"}, organs)["acme.see"]
    assert (pool.spec.num_gpus, pool.spec.agents, pool.spec.max_hosts) == (1, 1, 1)
    assert (pool.spec.domains, pool.spec.skills) == ([], ["acme.see"])


def test_a_skill_whose_organ_does_not_exist_is_quarantined_all_the_same_and_an_unknown_one_is_not():
    assert list(quarantine_pools(quarantined("echo", "later"), {"echo": "nowhere"}, {})) == ["echo"]


@pytest.mark.parametrize("skill", ["echo", "acme.double", "a/b", "ä ö", "x" * 200, "-", "Echo"])
def test_the_id_fits_in_names_and_no_organ_can_have_it(skill: str):
    organ = quarantine_id(skill)
    assert not ORGAN.fullmatch(organ)
    assert re.fullmatch(r"~[a-z0-9_-]{1,62}", organ)
    assert organ_of_host(host_name(organ, 12)) == organ


def test_skills_that_look_alike_have_different_ids():
    assert len({quarantine_id(skill) for skill in ("a.b", "a/b", "a-b", "A.b", "x" * 50, "x" * 51)}) == 6
