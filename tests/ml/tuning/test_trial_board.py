from hypothesis import given
from hypothesis import strategies as st

from seedcore.ml.tuning.search_plan import SearchPlan, first_rung
from seedcore.ml.tuning.search_space import PRESETS
from seedcore.ml.tuning.trial_board import TrialBoard
from seedcore.ml.tuning.trial_record import TrialRecord, best_of


def plan(*past: TrialRecord, trials: int = 3) -> SearchPlan:
    return SearchPlan(
        PRESETS["quick"].dimensions, {"gamma": 0.0}, 90, trials, 2, "logloss", False, 5, True, 60, 0.5, past
    )


def params(depth: int) -> dict[str, float | int]:
    return {"max_depth": depth, "learning_rate": 0.1}


def test_a_trial_that_reached_all_rounds_is_completed_and_another_is_pruned():
    board = TrialBoard(plan(trials=2))
    for key, rounds in (("a", (10, 90)), ("b", (10,))):
        board.begin(key, params(3))
        for at in rounds:
            board.report(key, at, 0.5)
        board.end(key)
    news = board.news(0, 0)
    assert [(t.trial, t.status) for t in news.trials] == [("0001", "completed"), ("0002", "pruned")]
    assert news.over
    assert news.trials[0].params == {"gamma": 0.0, **params(3)}


def test_a_trial_whose_process_died_begins_again_without_its_scores():
    board = TrialBoard(plan())
    board.begin("a", params(3))
    board.report("a", 10, 0.5)
    board.begin("a", params(3))
    (trial,) = board.news(0, 0).trials
    assert (trial.trial, trial.status, trial.scores) == ("0001", "running", ())


def test_news_hold_what_changed_since_the_last_ones():
    board = TrialBoard(plan())
    board.begin("a", params(3))
    seen = board.news(0, 0).seen
    assert board.news(seen, 0).trials == ()
    board.fail("a", "RuntimeError: no")
    news = board.news(seen, 0)
    assert [t.status for t in news.trials] == ["failed"]
    assert (news.error, news.running, news.over) == ("RuntimeError: no", False, False)


def test_an_interrupted_trial_keeps_its_name_and_new_ones_follow_the_known():
    done = TrialRecord("0001", {"gamma": 0.0, **params(2)}, "completed", ((90, 0.4),))
    cut = TrialRecord("0002", {"gamma": 0.0, **params(4)}, "running", ((10, 0.6),))
    resumed = plan(done, cut)
    assert (resumed.left, resumed.ended, resumed.interrupted) == (2, (done,), (cut,))
    board = TrialBoard(resumed)
    board.begin("x", params(4))
    board.begin("y", params(5))
    assert [t.trial for t in board.news(0, 0).trials] == ["0002", "0003"]


def test_a_resumed_search_does_not_draw_what_it_drew():
    done = TrialRecord("0001", params(2), "completed", ((90, 0.4),))
    assert plan(done).sampler_seed != plan().sampler_seed


@given(st.integers(1, 5000))
def test_the_first_rung_is_within_the_rounds(rounds: int):
    assert 1 <= first_rung(rounds) <= rounds


def test_the_best_score_is_the_best_report_of_a_trial_that_did_not_fail():
    trials = [
        TrialRecord("0001", params(1), "completed", ((10, 0.3), (90, 0.5))),
        TrialRecord("0002", params(2), "pruned", ((10, 0.4),)),
        TrialRecord("0003", params(3), "failed", ((10, 0.1),)),
    ]
    lowest, highest = best_of(trials, "logloss"), best_of(trials, "auc")
    assert lowest is not None
    assert highest is not None
    assert (lowest.trial, lowest.rounds, lowest.score) == ("0001", 10, 0.3)
    assert (highest.trial, highest.rounds) == ("0001", 90)
    assert best_of([], "auc") is None
