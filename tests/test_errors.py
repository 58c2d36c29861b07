"""Errors: whole across process borders and over HTTP, each with a code of its own."""

import json
import pickle
from collections import Counter

import pytest

from seedcore import errors
from seedcore.errors import FieldError, SeedCoreError, SkillError, from_problem, problem


def family(root: type[SeedCoreError] = SeedCoreError) -> list[type[SeedCoreError]]:
    """Every class that `seedcore.errors` itself defines (tests elsewhere may define more)."""
    found = [root]
    for child in root.__subclasses__():
        found += [kind for kind in family(child) if kind.__module__ == errors.__name__]
    return found


@pytest.fixture(params=family(), ids=lambda kind: kind.__name__)
def error(request: pytest.FixtureRequest) -> SeedCoreError:
    wrong = [FieldError("params.value", "must be a number"), FieldError("type", "unknown")]
    return request.param("Do this instead.", errors=wrong, retry_after_s=2.5, limit=7, retryable=False)


def same(left: SeedCoreError, right: SeedCoreError) -> bool:
    return type(left) is type(right) and vars(left) == vars(right) and str(left) == str(right)


def test_every_error_crosses_process_borders_whole(error: SeedCoreError):
    assert same(pickle.loads(pickle.dumps(error)), error)


def test_every_error_comes_back_from_its_problem_document(error: SeedCoreError):
    document = json.loads(json.dumps(problem(error)))
    assert same(from_problem(document), error)
    assert document["type"].endswith(document["code"])
    assert (document["status"], document["code"], document["title"]) == (error.status, error.code, error.title)
    assert document["detail"] == "Do this instead."
    assert document["errors"][0] == {"field": "params.value", "message": "must be a number"}
    assert document["limit"] == 7


def test_codes_are_unique_and_statuses_are_errors():
    kinds = family()
    assert [code for code, count in Counter(kind.code for kind in kinds).items() if count > 1] == []
    assert all(400 <= kind.status <= 599 for kind in kinds)
    assert all(kind.code in vars(kind)["code"] and kind.title for kind in kinds)


def test_a_problem_without_fields_has_no_errors():
    assert set(problem(errors.NotFoundError("There is no x."))) == {"type", "title", "status", "detail", "code"}


def test_extra_facts_never_replace_fixed_ones():
    assert problem(SeedCoreError("a", status=200, code="fine", detail_of="b"))["status"] == 500
    assert problem(SeedCoreError("a", code="fine"))["code"] == "internal_error"


def test_an_unknown_code_becomes_the_base_class_and_keeps_its_words():
    found = from_problem({"code": "from_the_future", "status": 418, "detail": "teapot", "errors": None, "self": 1})
    assert type(found) is SeedCoreError
    assert found.detail == "teapot"
    assert found.errors == ()


def test_a_skill_error_is_retryable_unless_it_says_otherwise():
    assert SkillError("busy").transient
    assert not SkillError("never", retryable=False).transient


def test_errors_that_skills_define_take_no_code_from_ours():
    class OutOfStockError(SkillError):
        """Has its parent's code."""

    class ListedError(SkillError):
        code = ["a", "list"]  # type: ignore[misc,assignment]

    for kind in (OutOfStockError, ListedError):
        assert kind("none left").detail == "none left"
    assert type(from_problem({"code": "skill_failed", "detail": "none left"})) is SkillError
