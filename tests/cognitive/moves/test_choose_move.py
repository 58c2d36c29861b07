"""Which move is chosen, from what was learnt."""

from hypothesis import given
from hypothesis import strategies as st

from seedcore.cognitive.moves.choose_move import MoveChoice, MoveKnowledge, RememberedMove, choose_move
from seedcore.cognitive.moves.possible_moves import EscalationMove, possible_moves
from seedcore.tasks.plans.moves import DirectEnd, MoveEnds, SampleState
from tests.cognitive.moves.test_possible_moves import SCORE, SKILLS

MOVES = possible_moves(SCORE, {"amount": 1.5}, SKILLS)
GOOD, BAD = DirectEnd(True), DirectEnd(False, "boom")
HELPS = "equivalent:acme.score_b"


def chosen(known: MoveKnowledge, **more: object) -> str:
    return choose_move(MOVES, known, **more).chosen.move.name  # type: ignore[arg-type]


def memory(move: str, helped: float, *, likeness: float = 0.9, ends: float = 1, bad: float = 0) -> RememberedMove:
    return RememberedMove(f"m-{move}-{helped}", "text", likeness, move, helped, ends, 0.0, bad)


def test_work_that_goes_well_runs_as_it_is():
    assert chosen(MoveKnowledge()) == "as_is"
    assert chosen(MoveKnowledge(direct=[GOOD] * 20, waiting=1000)) == "as_is"
    assert chosen(MoveKnowledge(direct=[GOOD] * 19 + [BAD], waiting=1000)) == "as_is"


def test_work_that_fails_is_checked_or_given_to_another_skill_and_what_does_not_help_is_left():
    failing = MoveKnowledge(direct=[BAD] * 10)
    first = chosen(failing)
    assert first.startswith("check_")
    assert chosen(failing, tried=[first, "check_after:acme.review", "check_before:acme.guard"]) == HELPS
    left = ["check_after:acme.review", "check_before:acme.guard", HELPS]
    assert chosen(failing, tried=left) == "person"


def test_a_task_that_a_check_refused_is_not_run_all_the_same():
    options = choose_move(MOVES, MoveKnowledge(), tried=["check_before:acme.guard"]).options
    assert "as_is" not in [option.move.kind for option in options]


def test_half_of_a_large_stream_failing_makes_a_sample_run_first():
    mixed = MoveKnowledge(direct=[GOOD, BAD] * 10, waiting=500)
    assert chosen(mixed, allowed={"sample"}) == "sample"
    assert chosen(MoveKnowledge(direct=[GOOD, BAD] * 10, waiting=5), allowed={"sample"}) != "sample"
    assert chosen(mixed, tried=["check_before:acme.guard"], allowed={"sample"}) != "sample"


def test_after_a_sample_that_passed_the_others_run():
    passed = SampleState("passed", 3.0, 5, 5, 0)
    assert chosen(MoveKnowledge(direct=[BAD] * 20, waiting=500, sample=passed)) == "as_is"
    old = SampleState("passed", 300.0, 5, 5, 0)
    assert chosen(MoveKnowledge(direct=[BAD] * 20, waiting=500, sample=old)) != "as_is"


def test_runs_from_before_the_change_say_little():
    before = [DirectEnd(True, None, False)] * 50
    assert chosen(MoveKnowledge(direct=[BAD] * 6 + before)) != "as_is"


def test_what_helped_this_stream_is_chosen_again_and_what_did_not_is_not():
    helped = MoveKnowledge(direct=[BAD] * 10, ends=[MoveEnds(HELPS, 3, 3, 1.0, 0.1)])
    assert chosen(helped) == HELPS
    useless = MoveKnowledge(direct=[BAD] * 10, ends=[MoveEnds("check_before:acme.guard", 0, 9, 1.0, 0.1)])
    assert chosen(useless) != "check_before:acme.guard"


def test_memory_of_a_like_incident_decides_at_once_and_is_cited():
    known = MoveKnowledge(remembered=[memory(HELPS, 4, ends=4, bad=10)])
    choice = choose_move(MOVES, known)
    assert choice.chosen.move.name == HELPS
    assert choice.chosen.memories == (f"m-{HELPS}-4",)
    assert "by 1 memory of like incidents" in choice.reason
    # What memory says of another skill's incident is not known to it.
    assert chosen(MoveKnowledge(remembered=[memory("equivalent:acme.gone", 4, ends=4)])) == "as_is"


def test_only_what_the_settings_allow_is_tried():
    failing = MoveKnowledge(direct=[BAD] * 20, waiting=500)
    assert chosen(failing, allowed=frozenset()) == "person"
    names = {option.move.kind for option in choose_move(MOVES, failing, allowed=frozenset({"sample"})).options}
    assert names == {"as_is", "sample", "person"}


_ENDS = st.builds(
    lambda move, ends, helped: MoveEnds(move.name, min(ends, helped), ends, 1.0, 1.0),
    st.sampled_from(MOVES),
    st.integers(1, 99),
    st.integers(0, 99),
)
_DIRECT = st.builds(DirectEnd, st.booleans(), st.none(), st.booleans())
_MEMORIES = st.builds(
    lambda move, helped, ends, likeness, bad: memory(
        move.name, min(helped, ends), ends=ends, likeness=likeness, bad=bad
    ),
    st.sampled_from(MOVES),
    st.integers(0, 9),
    st.integers(1, 9),
    st.floats(0.5, 1),
    st.integers(0, 9),
)


@given(
    st.lists(_ENDS, max_size=5, unique_by=lambda e: e.move),
    st.lists(_DIRECT, max_size=60),
    st.lists(_MEMORIES, max_size=5),
    st.integers(0, 2000),
)
def test_a_choice_is_the_least_of_the_options_and_always_the_same(
    ends: list[MoveEnds], direct: list[DirectEnd], remembered: list[RememberedMove], waiting: int
):
    known = MoveKnowledge(ends, direct, remembered, None, waiting)
    choice = choose_move(MOVES, known)
    costs = [option.expected_cost for option in choice.options]
    assert costs == sorted(costs)
    assert all(0 <= option.chance <= 1 for option in choice.options)
    assert choice.chosen.expected_cost <= 8.0 + 1e-9  # a person can always decide
    again: MoveChoice = choose_move(list[EscalationMove](MOVES), known)
    assert [o.move.name for o in again.options] == [o.move.name for o in choice.options]
