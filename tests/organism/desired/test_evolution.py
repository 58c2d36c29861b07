"""Evolution: agents and skills go where they are told, none is lost, and it can be undone."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from seedcore.errors import ConflictError, InvalidInputError, NotFoundError
from seedcore.fleet.organ_spec import HostRange, OrganSpec, organ_of_skills
from seedcore.organism.agents.roster import Roster
from seedcore.organism.desired.desired_state import Organ, present
from seedcore.organism.desired.evolution import EvolutionPlan, plan_evolution, undo_evolution
from seedcore.schemas.organism import EvolveRequest

DECLARED = {"echo": "a", "shout": "a", "predict": "b"}


def organs(**agents: int) -> dict[str, Organ]:
    return {name: Organ(name, OrganSpec(agents=count)) for name, count in agents.items()}


def do(known: dict[str, Organ], **request: Any) -> EvolutionPlan:
    wanted = TypeAdapter(EvolveRequest).validate_python(request).root
    specs = {name: organ.spec for name, organ in present(known).items()}
    return plan_evolution(known, organ_of_skills(specs, DECLARED), DECLARED, wanted)


def after(known: dict[str, Organ], change: EvolutionPlan) -> dict[str, Organ]:
    return {**known, **{organ.id: organ for organ in change.organs}}


def agents(known: dict[str, Organ]) -> dict[str, set[str]]:
    return {name: set(organ.agent_ids) for name, organ in present(known).items()}


def skills(known: dict[str, Organ]) -> dict[str, str]:
    return organ_of_skills({name: organ.spec for name, organ in present(known).items()}, DECLARED)


def test_a_split_takes_skills_and_agents_along():
    known = organs(a=8, b=2)
    later = after(known, do(known, operation="split", organ_id="a", into="loud", skills=["shout"]))
    assert skills(later) == {"echo": "a", "shout": "loud", "predict": "b"}
    assert (len(agents(later)["a"]), len(agents(later)["loud"])) == (4, 4)
    assert agents(later)["a"] | agents(later)["loud"] == agents(known)["a"]
    assert later["loud"].version == 1


def test_a_merge_takes_all_of_an_organ_over():
    known = organs(a=3, b=2)
    known["b"] = known["b"].changed(OrganSpec(agents=2, num_gpus=1, domains=["risk"], hosts=HostRange(min=2, max=3)))
    later = after(known, do(known, operation="merge", organ_id="b", into="a"))
    assert list(present(later)) == ["a"]
    assert set(skills(later).values()) == {"a"}
    assert agents(later)["a"] == agents(known)["a"] | agents(known)["b"]
    spec = later["a"].spec
    assert (spec.num_gpus, spec.domains, spec.hosts) == (1, ["risk"], HostRange(min=2, max=4))


def test_a_merge_keeps_the_isolation_of_either():
    known = organs(a=3, b=2)
    known["b"] = known["b"].changed(OrganSpec(agents=2, isolation="process", hosts=HostRange(min=2, max=3)))
    for gone, into in (("a", "b"), ("b", "a")):
        merged = after(known, do(known, operation="merge", organ_id=gone, into=into))[into].spec
        assert (merged.own_hosts, merged.hosts.min) == (True, 2)


def test_an_organ_of_the_name_of_a_merged_one_has_other_agents():
    known = organs(a=3, b=2)
    later = after(known, do(known, operation="merge", organ_id="b", into="a"))
    later["b"] = later["b"].changed()
    assert not agents(later)["a"] & agents(later)["b"]


def test_clones_are_new_agents_and_know_whose_they_are():
    known = organs(a=2, b=1)
    change = do(known, operation="clone", agent="a-0001", count=2)
    later = after(known, change)
    assert agents(later)["a"] == {"a-0000", "a-0001", "a-0001-c1", "a-0001-c2"}
    assert change.clones == {"a-0001-c1": "a-0001", "a-0001-c2": "a-0001"}
    more = after(later, do(later, operation="clone", agent="a-0001"))
    assert agents(more)["a"] == agents(later)["a"] | {"a-0001-c3"}


def test_retired_agents_get_no_successor_of_their_name():
    known = organs(a=3, b=2)
    later = after(known, do(known, operation="retire", agents=["a-0001", "b-0000"]))
    assert agents(later) == {"a": {"a-0000", "a-0002"}, "b": {"b-0001"}}
    grown = later["a"].changed(OrganSpec(agents=3))
    assert "a-0001" not in grown.agent_ids


@pytest.mark.parametrize(
    ("request_", "error", "text"),
    [
        ({"operation": "split", "organ_id": "x", "into": "c", "skills": ["echo"]}, NotFoundError, "Known: a, b"),
        ({"operation": "split", "organ_id": "a", "into": "b", "skills": ["echo"]}, ConflictError, "already"),
        ({"operation": "split", "organ_id": "a", "into": "c", "skills": ["predict"]}, InvalidInputError, "echo, shout"),
        ({"operation": "split", "organ_id": "a", "into": "c", "skills": ["echo", "shout"]}, ConflictError, "without a"),
        (
            {"operation": "split", "organ_id": "a", "into": "c", "skills": ["echo"], "agents": 3},
            ConflictError,
            "3 agents",
        ),
        (
            {"operation": "split", "organ_id": "a", "into": "c", "skills": ["echo"], "hosts": {"min": 1, "max": 2}},
            InvalidInputError,
            "live in workers",
        ),
        ({"operation": "merge", "organ_id": "a", "into": "a"}, InvalidInputError, "itself"),
        ({"operation": "merge", "organ_id": "a", "into": "x"}, NotFoundError, "'x'"),
        ({"operation": "clone", "agent": "nobody"}, NotFoundError, "'nobody'"),
        ({"operation": "retire", "agents": ["b-0000"]}, ConflictError, "without an agent"),
        ({"operation": "retire", "agents": ["a-0003"]}, NotFoundError, "'a-0003'"),
    ],
)
def test_what_cannot_be_done_is_told(request_: dict[str, Any], error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        do(organs(a=3, b=1), **request_)


OPERATIONS = st.one_of(
    st.fixed_dictionaries(
        {"operation": st.just("split"), "organ_id": st.sampled_from("ab"), "into": st.sampled_from("cd")},
        optional={"agents": st.integers(1, 5)},
    ).flatmap(lambda d: st.sampled_from(list(DECLARED)).map(lambda s: {**d, "skills": [s]})),
    st.fixed_dictionaries(
        {"operation": st.just("merge"), "organ_id": st.sampled_from("abcd"), "into": st.sampled_from("abcd")}
    ),
    st.fixed_dictionaries(
        {"operation": st.just("clone"), "agent": st.sampled_from(["a-0000", "b-0001", "a-0000-c1"])},
    ),
    st.fixed_dictionaries({"operation": st.just("retire"), "agents": st.sampled_from([["a-0001"], ["a-0000-c1"]])}),
)


@given(st.lists(OPERATIONS, max_size=12))
def test_no_agent_is_ever_in_two_organs_and_every_step_can_be_undone(operations: list[dict[str, Any]]):
    known = organs(a=5, b=4)
    for request in operations:
        try:
            change = do(known, **request)
        except (ConflictError, InvalidInputError, NotFoundError):
            continue
        before = {organ.id: present(known).get(organ.id) for organ in change.organs}
        later = after(known, change)
        everybody = [agent for own in agents(later).values() for agent in own]
        assert len(everybody) == len(set(everybody))
        moved = set(everybody) ^ {agent for own in agents(known).values() for agent in own}
        assert moved == set(change.clones) | set(
            request.get("agents") or [] if request["operation"] == "retire" else []
        )
        assert set(skills(later).values()) <= set(present(later)) | set(DECLARED.values())
        versions = {organ.id: organ.version for organ in change.organs}
        back = {**later, **{organ.id: organ for organ in undo_evolution(later, before, versions)}}
        assert agents(back) == agents(known)
        assert skills(back) == skills(known)
        assert all(back[name].version > later[name].version for name in versions)
        known = later


def test_what_was_changed_since_cannot_be_undone():
    known = organs(a=8, b=1)
    change = do(known, operation="clone", agent="a-0000")
    later = after(known, change)
    later["a"] = later["a"].changed(roster=Roster())
    with pytest.raises(ConflictError, match="'a' has been changed since"):
        undo_evolution(later, {"a": known["a"]}, {"a": 2})
