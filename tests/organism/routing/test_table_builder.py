"""The routing table: agents of organs that live, on hosts that live, with their lifecycle."""

import time

from seedcore.fleet.host_limits import HostLimits
from seedcore.fleet.organ_spec import OrganSpec
from seedcore.organism.agents.roster import Roster
from seedcore.organism.routing.table_builder import OrganMembers, SkillDeclarations, build_routing_table, living_agents

SKILLS = SkillDeclarations({"echo": "a"}, {"echo": 5.0})


def members(**agents: int) -> dict[str, OrganMembers]:
    return {name: OrganMembers.of(name, OrganSpec(agents=count), Roster()) for name, count in agents.items()}


def test_an_organ_without_a_living_host_has_no_agents_in_the_table():
    table = build_routing_table(3, members(a=4, b=2), {"a": ["h-1", "h-0"], "b": []}, {}, SKILLS)
    assert (table["epoch"], table["skills"], table["timeouts"]) == (3, {"echo": "a"}, {"echo": 5.0})
    assert table["organs"]["b"]["agents"] == []
    own = table["organs"]["a"]
    assert (own["hosts"], len(own["agents"]), sorted(own["host"])) == (["h-0", "h-1"], 4, [0, 0, 1, 1])


def test_skills_that_need_approval_stand_in_the_table():
    declared = SkillDeclarations({"echo": "a", "pay": "a"}, {}, {"pay": 60.0})
    assert build_routing_table(1, members(a=1), {"a": ["h-0"]}, {}, declared)["approvals"] == {"pay": 60.0}


def test_agents_that_never_worked_are_scouts():
    lifecycle = {"a-0000": "employed", "a-0002": "archived"}
    own = build_routing_table(1, members(a=4), {"a": ["h"]}, lifecycle, SKILLS)["organs"]["a"]
    assert (own["scouts"], own["archived"]) == ([1, 3], [2])


def test_hosts_stand_with_their_nodes_where_these_are_known():
    own = build_routing_table(1, members(a=2), {"a": ["h-1", "h-0"]}, {}, SKILLS, {"h-1": "n"})["organs"]["a"]
    assert (own["hosts"], own["nodes"]) == (["h-0", "h-1"], [None, "n"])


def test_people_read_records():
    table = build_routing_table(1, members(a=2, b=1), {"a": ["h"], "b": ["g"]}, {"a-0000": "employed"}, SKILLS)
    assert living_agents(table) == [
        {"id": "a-0000", "organ": "a", "host": "h", "lifecycle": "employed"},
        {"id": "a-0001", "organ": "a", "host": "h", "lifecycle": "scout"},
        {"id": "b-0000", "organ": "b", "host": "g", "lifecycle": "scout"},
    ]
    assert [agent["id"] for agent in living_agents(table, ["b"])] == ["b-0000"]


def test_a_hundred_thousand_agents_are_no_burden():
    own = members(a=100_000)
    began = time.process_time()
    table = build_routing_table(1, own, {"a": [f"h-{n}" for n in range(10)]}, {}, SKILLS)
    assert time.process_time() - began < 3
    assert len(table["organs"]["a"]["host"]) == 100_000


def test_organs_that_live_in_workers_have_their_limits_and_roles_in_the_table():
    spec = OrganSpec(agents=2, limits=HostLimits(agent_concurrency=3), roles={"reader": 2})
    table = build_routing_table(
        1,
        members(a=2, b=1, c=1),
        {"a": ["w-1", "w-0"], "b": ["h"], "c": []},
        {},
        SKILLS,
        shared={"a": spec, "c": OrganSpec()},
        workers=["w-1", "w-0"],
    )
    a, b, c = (table["organs"][name] for name in "abc")
    assert (a["hosts"], a["limits"], a["roles"]) == (["w-0", "w-1"], {"agent_concurrency": 3}, {"reader": 2})
    assert not {"limits", "roles"} & b.keys(), "a host has these from its organ"
    assert (c["agents"], c["limits"], c["roles"]) == ([], {}, {})
    assert table["workers"] == ["w-0", "w-1"]
