"""Which moves there are for a task, by the types of the skills."""

import pytest

from seedcore.cognitive.moves.possible_moves import possible_moves, stands_for
from seedcore.settings import load_settings
from seedcore.skills import jsontypes
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.signatures import Param, Signature, signatures
from seedcore.tasks.plans.plan import validate_plan


def one(name: str, params: dict[str, str], results: dict[str, str], **more: object) -> Signature:
    """A skill; a param whose type ends in `?` is optional."""
    kinds = {n: Param(jsontypes.of_schema({"type": t.rstrip("?")}, {}), not t.endswith("?")) for n, t in params.items()}
    fields = {n: jsontypes.of_schema({"type": t} if t else {}, {}) for n, t in results.items()}
    return Signature(name, kinds, fields, **more)  # type: ignore[arg-type]


SCORE = one("acme.score", {"amount": "number", "note": "string?"}, {"score": "number"})
SAME = one("acme.score_b", {"amount": "number"}, {"score": "number", "why": "string"})
GUARD = one("acme.guard", {"amount": "number"}, {"ok": "boolean"}, checks="acme.score")
REVIEW = one("acme.review", {"score": "number"}, {"ok": "boolean"}, checks="acme.score", when="after")
SKILLS = {skill.name: skill for skill in (SCORE, SAME, GUARD, REVIEW)}


def test_a_task_has_the_plain_run_a_sample_checks_equivalents_and_a_person():
    names = [move.name for move in possible_moves(SCORE, {"amount": 1.5}, SKILLS)]
    checks = ["check_before:acme.guard", "check_after:acme.review"]
    assert sorted(names[2:4]) == sorted(checks)
    assert [*names[:2], *names[4:]] == ["as_is", "sample", "equivalent:acme.score_b", "person"]


def test_every_plan_of_a_move_passes_the_validator_and_gives_the_skills_own_results():
    for move in possible_moves(SCORE, {"amount": 1.5}, SKILLS):
        if move.plan is not None:
            validate_plan(move.plan, SKILLS)
            assert move.plan.output.keys() == SCORE.results.keys()


def test_a_check_before_runs_first_and_one_after_takes_the_results():
    moves = {move.name: move for move in possible_moves(SCORE, {"amount": 1.5}, SKILLS)}
    before, after = moves["check_before:acme.guard"].plan, moves["check_after:acme.review"].plan
    assert before is not None
    assert after is not None
    assert [(s.skill, s.needs) for s in before.steps] == [("acme.guard", ()), ("acme.score", ("check",))]
    assert after.steps[1].params == {"score": {"$from": "s1", "field": "score"}}


def test_a_check_that_needs_what_is_not_there_is_no_move():
    other = one("acme.other", {"colour": "string"}, {"ok": "boolean"}, checks="acme.score")
    names = [m.name for m in possible_moves(SCORE, {"amount": 1.5}, {**SKILLS, other.name: other})]
    assert "check_before:acme.other" not in names


def test_a_skill_that_failed_for_the_task_is_part_of_no_move():
    names = [m.name for m in possible_moves(SCORE, {"amount": 1.5}, SKILLS, without=["acme.score"])]
    assert names == ["equivalent:acme.score_b", "person"]
    names = [m.name for m in possible_moves(SCORE, {"amount": 1.5}, SKILLS, without=["acme.score_b", "acme.guard"])]
    assert names == ["as_is", "sample", "check_after:acme.review", "person"]


@pytest.mark.parametrize(
    ("other", "stands"),
    [
        (one("b", {"amount": "number"}, {"score": "number"}), True),
        (one("b", {"amount": "number"}, {"score": "integer"}), True),
        (one("b", {"amount": "integer"}, {"score": "number"}), False),
        (one("b", {"amount": "number", "more": "string"}, {"score": "number"}), False),
        (one("b", {"amount": "number", "more": "string?"}, {"score": "number"}), True),
        (one("b", {"amount": "number"}, {"score": ""}), False),
        (one("b", {"amount": "number"}, {"grade": "number"}), False),
        (one("b", {"total": "number"}, {"score": "number"}), False),
    ],
)
def test_a_skill_stands_for_another_when_names_and_types_agree(other: Signature, stands: bool):
    assert stands_for(other, SCORE, ["amount"]) is stands


def test_a_skill_that_does_not_take_all_that_is_given_stands_for_none():
    assert stands_for(SAME, SCORE, ["amount"])
    assert not stands_for(SAME, SCORE, ["amount", "note"])


def test_a_skill_that_a_person_approves_is_part_of_no_move():
    asking = one("acme.asking", {"amount": "number"}, {"score": "number"}, asks=True)
    guard = one("acme.asking_guard", {"amount": "number"}, {"ok": "boolean"}, asks=True, checks="acme.score")
    names = [m.name for m in possible_moves(SCORE, {"amount": 1}, {s.name: s for s in (SCORE, asking, guard)})]
    assert names == ["as_is", "sample", "person"]


def test_none_of_the_shipped_skills_stands_for_another():
    skills = signatures(SkillRegistry.load(load_settings()).values())
    pairs = [(a, b) for a in skills for b in skills if a != b and stands_for(skills[a], skills[b])]
    assert pairs == []
