"""What the organs file changes, and what stays."""

from seedcore.fleet.organ_spec import HostRange, OrganSpec
from seedcore.organism.agents.roster import Roster
from seedcore.organism.desired.desired_state import Organ, apply_file, present, spec_hash

A, B = OrganSpec(agents=3), OrganSpec(agents=5, description="b")


def applied(organs: dict[str, Organ], wanted: dict[str, OrganSpec]) -> dict[str, Organ]:
    return {**organs, **{organ.id: organ for organ in apply_file(organs, wanted)}}


def test_the_first_time_everything_comes_from_the_file():
    organs = applied({}, {"a": A, "b": B})
    assert {name: (o.spec, o.version, o.file_hash) for name, o in organs.items()} == {
        "a": (A, 1, spec_hash(A)),
        "b": (B, 1, spec_hash(B)),
    }


def test_the_same_file_again_changes_nothing():
    organs = applied({}, {"a": A, "b": B})
    assert apply_file(organs, {"b": B, "a": A}) == []


def test_what_was_changed_by_hand_stays_while_its_part_of_the_file_is_the_same():
    organs = applied({}, {"a": A, "b": B})
    organs["a"] = organs["a"].changed(OrganSpec(agents=9), Roster(gone=["a-0001"]))
    organs["b"] = organs["b"].changed(removed=True)
    assert apply_file(organs, {"a": A, "b": B}) == []


def test_the_file_wins_where_it_has_changed_and_agents_that_are_gone_stay_gone():
    organs = applied({}, {"a": A, "b": B})
    organs["a"] = organs["a"].changed(OrganSpec(agents=9), Roster(gone=["a-0001"]))
    after = applied(organs, {"a": OrganSpec(agents=4), "b": B})
    assert (after["a"].spec.agents, after["a"].version, after["a"].roster.gone) == (4, 3, ["a-0001"])
    assert after["b"] is organs["b"]


def test_an_organ_that_leaves_the_file_is_removed_and_comes_back_with_it():
    organs = applied(applied({}, {"a": A, "b": B}), {"a": A})
    assert list(present(organs)) == ["a"]
    assert organs["b"].removed
    again = applied(organs, {"a": A, "b": B})
    assert (again["b"].removed, again["b"].version) == (False, 3)


def test_organs_that_never_came_from_the_file_stay():
    organs = applied({"mine": Organ("mine", A)}, {"b": B})
    assert list(present(organs)) == ["mine", "b"]


def test_a_file_that_says_what_is_there_already_only_takes_it_over():
    organs = applied({"a": Organ("a", A)}, {"a": A})
    assert (organs["a"].version, organs["a"].file_hash) == (1, spec_hash(A))


def test_the_part_of_a_file_that_the_previous_release_applied_has_not_changed():
    """Digests of `OrganSpec(agents=3)` and `OrganSpec(num_cpus=1, hosts=2)` as release 0.1.0 computed them."""
    two = OrganSpec(num_cpus=1, hosts=HostRange(min=2, max=2))
    assert [spec_hash(spec) for spec in (A, two)] == [
        "e5c2121ebf6d5a5b9829d2f7b58100d8185794541eb6fb6c0a334538e36bf835",
        "03f31f6b27fe59e629c8f75005272f17e34f6cf13594a2de342bad761d6ed6cc",
    ]
