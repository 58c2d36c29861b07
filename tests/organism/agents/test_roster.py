"""Which agents an organ has."""

from hypothesis import given
from hypothesis import strategies as st

from seedcore.fleet.organ_spec import OrganSpec
from seedcore.organism.agents.roster import Roster

OWN = st.integers(0, 20).map("a-{:04d}".format)
GUESTS = st.integers(0, 20).map("b-{:04d}".format)
ROSTERS = st.builds(
    Roster, extra=st.lists(GUESTS, unique=True, max_size=6), gone=st.lists(OWN, unique=True, max_size=6)
)


def ids(roster: Roster, agents: int) -> tuple[str, ...]:
    return roster.agent_ids("a", OrganSpec(agents=agents))


def test_agents_are_counted():
    assert ids(Roster(), 3) == ("a-0000", "a-0001", "a-0002")


@given(ROSTERS, st.integers(1, 30))
def test_there_are_as_many_as_desired_each_once_and_none_that_is_gone(roster: Roster, agents: int):
    found = ids(roster, agents)
    assert len(found) == len(set(found)) == agents
    assert not set(found) & set(roster.gone)
    assert set(found) >= set(roster.extra[:agents])


@given(ROSTERS, st.integers(1, 30))
def test_who_joins_is_wanted_and_nobody_leaves_for_it(roster: Roster, agents: int):
    joined = roster.joined_by(["c-1", "a-0030"])
    assert set(ids(joined, agents + 2)) == {*ids(roster, agents), "c-1", "a-0030"} or "a-0030" in ids(roster, agents)


@given(ROSTERS, st.integers(1, 29))
def test_an_organ_that_grows_keeps_all_that_it_has(roster: Roster, agents: int):
    assert set(ids(roster, agents)) < set(ids(roster, agents + 1))


@given(ROSTERS, st.integers(2, 30), st.data())
def test_agents_that_leave_are_not_used_again(roster: Roster, agents: int, data: st.DataObject):
    leaving = data.draw(st.lists(st.sampled_from(ids(roster, agents)), unique=True, max_size=agents - 1))
    left = ids(roster.without(leaving), agents - len(leaving))
    assert set(left) == set(ids(roster, agents)) - set(leaving)
    assert not set(ids(roster.without(leaving), agents)) & set(leaving)


@given(ROSTERS, st.integers(8, 30), st.data())
def test_agents_that_leave_and_come_back_are_there_as_before(roster: Roster, agents: int, data: st.DataObject):
    leaving = data.draw(st.lists(st.sampled_from(ids(roster, agents)), unique=True, max_size=agents - 1))
    back = roster.without(leaving).joined_by(leaving)
    assert set(ids(back, agents)) == set(ids(roster, agents))
