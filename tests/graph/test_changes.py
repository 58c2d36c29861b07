"""What a change of a table means for the graph."""

from hypothesis import given
from hypothesis import strategies as st

from seedcore.graph.changes import SEPARATOR, Change, EndedSum, node_id, write_of
from seedcore.graph.graph_write import EDGES, LABELS, GraphWrite

GONE = {"gone": True}


def edges(write: GraphWrite) -> set[tuple[str, str, str]]:
    return {(e.source, e.type, e.target) for found in write.edges.values() for e in found.values()}


def test_an_agent_belongs_to_its_organ_which_is_made_when_it_is_missing() -> None:
    write = write_of([Change(7, "agent", "utility-0001", {"organ": "utility", "lifecycle": "scout"})])
    assert write.nodes["agent:utility-0001"].properties == {"name": "utility-0001", "lifecycle": "scout"}
    assert (write.nodes["organ:utility"].label, write.nodes["organ:utility"].seq) == ("Organ", 0)
    assert edges(write) == {("agent:utility-0001", "BELONGS_TO", "organ:utility")}


def test_of_two_changes_of_one_thing_the_later_one_counts_whatever_their_order() -> None:
    old, new = (Change(n, "agent", "a", {"organ": organ}) for n, organ in ((1, "old"), (2, "new")))
    for changes in ([old, new], [new, old]):
        write = write_of(changes)
        assert write.nodes["agent:a"].seq == 2
        assert edges(write) == {("agent:a", "BELONGS_TO", "organ:new")}


def test_what_is_gone_is_removed_and_comes_back_with_a_later_change() -> None:
    fact = {"tenant": "acme", "subject": "a", "predicate": "is", "object": "b"}
    assert write_of([Change(1, "fact", "f", fact), Change(2, "fact", "f", GONE)]).nodes.keys() & {"fact:f"} == set()
    write = write_of([Change(2, "fact", "f", GONE), Change(3, "fact", "f", fact)])
    assert "fact:f" in write.gone
    assert write.nodes["fact:f"].seq == 3


def test_a_plan_uses_skills_and_its_end_keeps_what_is_known_of_it() -> None:
    plan = {"tenant": "acme", "type": "goal", "goal": "x", "status": "waiting", "skills": ["echo", "hash", "echo"]}
    write = write_of([Change(1, "plan", "p", plan), Change(2, "plan_end", "p", {"tenant": "acme", "status": "failed"})])
    assert write.nodes["plan:p"].properties | {"at": None} == {
        "tenant": "acme", "type": "goal", "goal": "x", "status": "failed", "at": None
    }  # fmt: skip
    assert edges(write) == {("plan:p", "USES", "skill:echo"), ("plan:p", "USES", "skill:hash")}


def test_dead_letters_of_a_batch_are_nodes_of_their_own() -> None:
    dead = [
        {"id": f"d{n}", "type": "echo", "tenant": "acme", "code": "timeout", "agent": "a", "parent": "p"}
        for n in (1, 2)
    ]
    write = write_of([Change(1, "dead", "d1", dead), Change(2, "not_dead", "d1", ["d1"])])
    assert "dead:d1" in write.gone
    found = {edge for edge in edges(write) if edge[0] == "dead:d2"}
    assert found == {
        ("dead:d2", "DIED_AS", "skill:echo"),
        ("dead:d2", "DIED_AT", "agent:a"),
        ("dead:d2", "PART_OF", "plan:p"),
    }
    assert write.nodes["plan:p"].properties == {"tenant": "acme"}


def test_a_model_has_one_champion_and_keeps_all_its_versions() -> None:
    first, second = ({"version": version, "since": None, "set_by": "ada"} for version in (1, 2))
    key = f"churn{SEPARATOR}champion"
    write = write_of([Change(1, "alias", key, first), Change(2, "alias", key, second)])
    assert edges(write) == {
        ("model:churn@1", "VERSION_OF", "model:churn"),
        ("model:churn@2", "VERSION_OF", "model:churn"),
        ("model:churn", "CHAMPION_OF", "model:churn@2"),
    }
    assert edges(write_of([Change(3, "alias", key, GONE)])) == set()


def test_an_incident_is_on_its_stream_and_skill_and_a_dry_run_is_none() -> None:
    triage = {"stream": "shop/echo", "action": "hold", "status": "done", "dry_run": False}
    write = write_of([Change(1, "triage", "t", triage), Change(2, "triage", "u", triage | {"dry_run": True})])
    assert "incident:u" not in write.nodes
    assert write.nodes["incident:t"].properties["tenant"] == "default"
    assert edges(write) == {
        ("incident:t", "HAPPENED_ON", "stream:shop/echo"),
        ("incident:t", "HAPPENED_ON", "skill:echo"),
    }


def test_a_link_to_something_unknown_shows_it_to_no_tenant_until_it_is_known() -> None:
    write = write_of([Change(1, "fact_use", f"f{SEPARATOR}p", {"at": "2026-01-01"})])
    assert [write.nodes[name].properties["tenant"] for name in ("plan:p", "fact:f")] == ["", ""]
    known = {"tenant": "acme", "subject": "a", "predicate": "is", "object": "b"}
    assert (
        write_of([Change(1, "fact_use", f"f{SEPARATOR}p", {}), Change(2, "fact", "f", known)])
        .nodes["fact:f"]
        .properties["tenant"]
        == "acme"
    )


def test_sums_are_edges_by_tenant_and_code() -> None:
    sums = [EndedSum("acme", "echo", "a", "", 5, 1.5), EndedSum("acme", "echo", "a", "timeout", 2, 9.0)]
    write = write_of([], [*sums, EndedSum("beta", "echo", "", "", 1, 0.1)])
    found = [e for edges in write.edges.values() for e in edges.values()]
    assert {(e.source, e.properties["tenant"], e.properties["code"], e.properties["n"]) for e in found} == {
        ("agent:a", "acme", "", 5),
        ("agent:a", "acme", "timeout", 2),
        ("agent:unknown", "beta", "", 1),
    }


def test_a_change_that_a_newer_release_wrote_is_left_out() -> None:
    assert write_of([Change(1, "comet", "x", {"a": 1})]) == GraphWrite()


TEXT = st.text(max_size=300)
NAMES = st.sampled_from(["organ", "lifecycle", "tenant", "goal", "status", "spec", "subject", "object", "stream", "at"])
VALUES = st.one_of(TEXT, st.integers(), st.floats(), st.none(), st.booleans())


@given(st.sampled_from(["agent", "skill", "plan", "triage", "flashbulb", "fact"]), TEXT, st.dictionaries(NAMES, VALUES))
def test_whatever_a_row_holds_becomes_values_that_a_bolt_server_stores(kind: str, key: str, payload: dict) -> None:
    payload.pop("spec", None)
    write = write_of([Change(1, kind, key, payload)])
    assert all(node.label in LABELS for node in write.nodes.values())
    assert all(type_ in EDGES for type_, _ in write.edges)
    for node in write.nodes.values():
        for value in node.properties.values():
            assert value is None or isinstance(value, str | bool | float | int)
            assert not isinstance(value, int) or -(2**63) <= value < 2**63


def test_ids_are_bounded() -> None:
    assert len(node_id("skill", "x" * 1000)) < 300
