"""Where claims go on: never past a task for long, whatever order tasks are numbered, committed and given back in."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedcore.tasks.claims import claim_position
from seedcore.tasks.claims.claim_position import FIRST, FULL_S, LAG_S, LAST, WHOLE, ClaimPosition, Places

Row = tuple[int, str, int]


def note(place: ClaimPosition, rows: list[Row], most: int) -> None:
    found = {head: [seq for *of, seq in rows if tuple(of) == head] for head in {row[:2] for row in rows}}
    place.claimed(found, len(rows) >= most)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Lane:
    """Brute force: the rows that can be seen, as (rank, tenant, seq), and since when each could be claimed."""

    rows: dict[Row, float] = field(default_factory=dict)

    def claim(self, places: Places, most: int) -> list[Row]:
        found: list[Row] = []
        for *begin, until, until_tenant in zip(*places, strict=True):
            found += sorted(row for row in self.rows if tuple(begin) < row < (until, until_tenant, 0))[:most]
        for row in found[:most]:
            del self.rows[row]
        return found[:most]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(claim_position, "time", clock)
    return clock


def test_it_begins_behind_what_was_claimed_a_moment_ago(clock: Clock):
    place = ClaimPosition()
    assert place.places() == WHOLE
    note(place, [(0, "a", 7), (0, "a", 9), (5, "b", 8)], 3)
    clock.now += LAG_S + 0.01
    assert place.places() == ([FIRST, 0, 5], ["", "a", "b"], [0, 9, 8], [0, 5, LAST], ["a", "b", ""])


def test_it_looks_at_everything_from_time_to_time(clock: Clock):
    place = ClaimPosition()
    place.places()
    note(place, [(0, "a", 9)], 2)
    clock.now += LAG_S + 0.01
    assert place.places() != WHOLE
    clock.now += FULL_S
    assert place.places() == WHOLE
    assert place.places() != WHOLE


# What happens between two claims: tasks come (rank and tenant, how long until they can be seen), time passes, so many
# are claimed.
heads = st.tuples(st.sampled_from([-5, 0, 0, 0, 5]), st.sampled_from(["default", "default", "acme", "zeta"]))
arrivals = st.lists(st.tuples(heads, st.sampled_from([0, 0, 0, 0.05, 0.3, 2.0])), max_size=6)
turns = st.lists(st.tuples(arrivals, st.sampled_from([0.0, 0.01, 0.05, 0.2, 0.6]), st.integers(1, 4)), max_size=60)


@given(turns=turns)
@settings(max_examples=150, deadline=None)
def test_no_task_is_passed_over_for_longer_than_one_look_at_everything(turns):
    """When two claims running come back with less than they asked for, nothing is left that stood there for FULL_S."""
    clock, lane, seq, short = Clock(), Lane(), 0, 0
    hidden: list[tuple[float, Row]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim_position, "time", clock)
        place = ClaimPosition()
        for tasks, passed, most in turns:
            for head, late in tasks:
                seq += 1
                hidden.append((clock.now + late, (*head, seq)))
            clock.now += passed
            lane.rows |= {row: at for at, row in hidden if at <= clock.now}
            hidden = [(at, row) for at, row in hidden if at > clock.now]
            got = lane.claim(place.places(), most)
            note(place, got, most)
            short = short + 1 if len(got) < most else 0
            if short > 1:
                passed_over = {row: clock.now - at for row, at in lane.rows.items() if clock.now - at > FULL_S}
                assert not passed_over
            # Of what one claim gives, the order is that of the lane.
            assert got == sorted(got)


@given(turns=st.lists(st.tuples(arrivals, st.sampled_from([0.0, 0.01, 0.05])), max_size=40))
@settings(max_examples=100, deadline=None)
def test_when_submits_commit_in_time_a_claim_is_that_of_the_whole_lane(turns):
    """Those that commit within LAG_S of one another: order and number are as without a place."""
    clock, lane, seq = Clock(), Lane(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim_position, "time", clock)
        place = ClaimPosition()
        for tasks, passed in turns:
            for head, _ in tasks:
                seq += 1
                lane.rows[(*head, seq)] = clock.now
            clock.now += passed
            expected = sorted(lane.rows)[:2]
            got = lane.claim(place.places(), 2)
            assert got == expected
            note(place, got, 2)


def test_a_large_submit_that_commits_late_is_taken_as_fast_as_any(clock: Clock):
    """A bulk that was numbered before others and became visible after them, while others keep coming."""
    lane, place, most = Lane(), ClaimPosition(), 100
    bulk = {(0, "default", n): clock.now for n in range(1, 5001)}
    seq = 5000
    for _ in range(10):
        lane.rows |= {(0, "default", seq + n): clock.now for n in range(1, 101)}
        seq += 100
        note(place, lane.claim(place.places(), most), most)
        clock.now += 0.1
    lane.rows |= bulk
    began = clock.now
    while any(row in lane.rows for row in bulk):
        note(place, lane.claim(place.places(), most), most)
        clock.now += 0.01
        assert clock.now - began < FULL_S + 2 * 5000 / most * 0.01, f"{len(lane.rows)} are left"
