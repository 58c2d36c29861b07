"""The drift demo: what counts as the story, and what is drawn of it."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from examples import drift_digits
from examples.drift_plot import draw
from examples.drift_story import EVENTS, AnsweredTask, Story, rolling
from examples.drift_stream import _proof
from seedcore.coordinator.policy_file import load_policy
from seedcore.coordinator.triage.actions import load_actions
from seedcore.settings import load_settings

POLICY = Path(drift_digits.__file__).with_name("drift_policy.yaml")


def told(after: float = 0.9, versions: tuple[int, int] = (1, 2)) -> Story:
    """A story that went well: 100 tasks before the shift, 60 after it by the old version, 100 by the new one."""
    story = Story(model="drift-digits-x", first_version=1, last_version=2)
    phases = ((100, False, versions[0], 0.95), (60, True, versions[0], 0.2), (100, True, versions[1], after))
    for count, shifted, version, right in phases:
        for place in range(count):
            story.answered.append(AnsweredTask(len(story.answered), shifted, version, place < right * count))
    for place, name in enumerate(EVENTS):
        story.note_event(name, 100 + 10 * place, float(place), "as seen")
    story.submitted = len(story.answered)
    return story


def test_the_whole_story_is_no_problem():
    story = told()
    assert story.problems(100) == []
    assert [phase.accuracy for phase in story.phases()] == [0.95, 0.2, 0.9]
    assert story.as_json(100)["good"] is True


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_is_part_of_it(name):
    story = told()
    del story.events[name]
    assert any(f"no {name}" in problem for problem in story.problems(100))


def test_an_alarm_before_the_shift_is_not_the_story():
    story = told()
    story.events["alarm"].task = 5
    assert any("another order" in problem for problem in story.problems(100))


def test_a_new_version_that_is_no_better_or_was_forced_or_answers_too_little_is_not_the_story():
    assert "the new version is not better than the old one" in told(after=0.2).problems(100)
    assert any("only 100 tasks" in problem for problem in told().problems(101))
    forced = told()
    forced.promotion = {"forced": True}
    assert forced.problems(100) == ["the promotion was forced"]


def test_the_first_event_of_a_name_stays():
    story = told()
    assert not story.note_event("alarm", 999, 9.0, "another")
    assert story.events["alarm"].task == 110


def test_the_share_of_right_answers_rolls():
    answered = [AnsweredTask(i, False, 1, i % 2 == 0) for i in range(10)]
    assert rolling(answered, 4) == [(i, 0.5) for i in range(3, 10)]


def test_the_plot_names_every_event(tmp_path):
    pytest.importorskip("matplotlib")
    draw(told(), tmp_path / "drift.svg")
    drawn = ElementTree.fromstring((tmp_path / "drift.svg").read_text())
    named = {element.get("id") for element in drawn.iter()}
    assert {f"event-{name}" for name in EVENTS} <= named


def test_a_story_that_ended_early_is_drawn_too(tmp_path):
    pytest.importorskip("matplotlib")
    draw(Story(model="drift-digits-x"), tmp_path / "drift.svg")
    early = told()
    early.answered, early.events = early.answered[:20], {}
    draw(early, tmp_path / "early.svg")
    assert "event-" not in (tmp_path / "early.svg").read_text()


def test_a_promotion_says_how_sure_it_is():
    gain = {"mean": 0.625, "lower": 0.41, "alpha": 0.05}
    said = _proof({"evidence": {"gain": gain, "outcomes": 104}})
    assert said == ": 62 points better on 104 tasks, at least 41, with a chance of being wrong of 5 % at most"
    assert _proof({"evidence": {"decided_by": "force"}}) == ""


def test_the_shift_turns_each_digit_and_keeps_what_was_trained_on_apart():
    digits = drift_digits.load(0)
    assert (len(digits.train_rows), len(digits.later_rows)) == (900, 897)
    stream = digits.stream()
    first = [next(stream) for _ in range(897)]
    assert sorted(label for _, label in first) == sorted(digits.later_labels)
    row = first[0][0]
    again = row
    for _ in range(4):
        again = drift_digits.turned(again)
    assert (again == row).all()
    assert np.sort(drift_digits.turned(row)).tolist() == np.sort(row).tolist()


def test_the_policy_of_the_demo_is_one_and_names_its_models(tmp_path):
    policy = load_policy(POLICY, load_actions(load_settings(data_dir=tmp_path)))
    assert policy.triage.actions["retrain"].trains("drift-digits-1a2b3c")
    assert not policy.triage.actions["retrain"].trains("breast-cancer")
