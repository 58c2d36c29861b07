"""The decorator `skill`: what it takes, and what it tells of a function that does not fit."""

import functools
from typing import Any

import pytest
from pydantic import BaseModel

from seedcore.skills import Kind, SkillContext, SkillSpec, skill
from seedcore.skills.skill_decorator import MARK, RESERVED
from seedcore.tasks.model import GOAL


class Number(BaseModel):
    value: float


async def double(params: Number, context: SkillContext) -> Number:
    """Twice as much.

    More about it.
    """
    return Number(value=2 * params.value)


def declare(function: Any, name: str = "acme.double", **options: Any) -> SkillSpec:
    return getattr(skill(name, **options)(function), MARK)


async def test_a_skill_stays_the_function_it_was():
    declared = skill("acme.double", organ="maths", timeout_s=5)(double)
    context = SkillContext(task_id="t", attempt=1, lease_token=2, idempotency_key="k", logger=None)
    assert declared is double
    assert (await declared(Number(value=21), context)).value == 42


def test_the_decorator_notes_all_that_seedcore_needs():
    spec = declare(double, organ="maths", timeout_s=5)
    assert spec == SkillSpec("acme.double", "maths", 5, "Twice as much.", Number, Number, double)


def test_organ_and_timeout_have_defaults():
    spec = declare(double)
    assert (spec.organ, spec.timeout_s) == ("utility", None)


def test_annotations_as_text_are_understood():
    async def later(params: "Number", context: "SkillContext") -> "Number":
        return params

    assert declare(later).params is Number


def make_under_future_annotations() -> Any:
    source = (
        "from __future__ import annotations\n"
        "from pydantic import BaseModel\n"
        "class Word(BaseModel):\n    text: str\n"
        "async def shout(params: Word, context) -> Word:\n    return params\n"
    )
    scope: dict[str, Any] = {"__name__": "acme_future"}
    exec(compile(source, "acme_future.py", "exec"), scope)
    return scope["shout"], scope["Word"]


def test_a_module_under_future_annotations_is_understood():
    shout, word = make_under_future_annotations()
    spec = declare(shout, "acme.shout")
    assert (spec.params, spec.result) == (word, word)


def plain(params: Number, context: SkillContext) -> Number:
    return params


async def alone(params: Number) -> Number:
    return params


async def crowded(params: Number, context: SkillContext, more: int) -> Number:
    return params


async def by_name_only(*, params: Number, context: SkillContext) -> Number:
    return params


async def spread(*params: Number, context: SkillContext) -> Number:
    return params[0]


async def bare(params, context):
    return params


async def of_a_dict(params: dict, context: SkillContext) -> Number:
    return Number(value=1)


async def to_a_dict(params: Number, context: SkillContext) -> dict:
    return {}


async def to_nothing_known(params: Number, context: SkillContext) -> "Nowhere":  # noqa: F821
    return params


async def generator(params: Number, context: SkillContext) -> Number:
    yield params


def plain_generator(params: Number, context: SkillContext) -> Number:
    yield params


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (generator, "must be an `async def` or a `def`"),
        (plain_generator, "must be an `async def` or a `def`"),
        (alone, "takes two parameters"),
        (crowded, "takes two parameters"),
        (by_name_only, "takes two parameters"),
        (spread, "takes two parameters"),
        (bare, "first parameter must be annotated with a pydantic model"),
        (of_a_dict, "first parameter must be annotated with a pydantic model"),
        (to_a_dict, "result must be annotated with a pydantic model"),
        (to_nothing_known, "Nowhere"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_function_that_does_not_fit_is_named_with_the_reason(function: Any, told: str):
    with pytest.raises(TypeError) as caught:
        declare(function)
    assert "skill 'acme.double'" in str(caught.value)
    assert f"{__name__}.{function.__name__}" in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize("thing", [functools.partial(double), 5, Number])
def test_what_is_no_function_is_a_type_error_too(thing: Any):
    with pytest.raises(TypeError, match=r"acme\.double"):
        declare(thing)


@pytest.mark.parametrize("name", ["", "two words", "tab\t", "x" * 201, "goal", "nul\0"])
def test_a_bad_name_is_refused(name: str):
    with pytest.raises(TypeError, match=r"test_skill_decorator\.double"):
        declare(double, name)


def test_the_reserved_name_is_the_one_that_asks_for_a_plan():
    assert RESERVED == GOAL


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
def test_a_bad_timeout_is_refused(timeout_s: float):
    with pytest.raises(TypeError, match="timeout_s"):
        declare(double, timeout_s=timeout_s)


@pytest.mark.parametrize("organ", ["", "Utility", "my organ", "x" * 64, "1st"])
def test_an_organ_that_no_organs_file_can_hold_is_refused(organ: str):
    with pytest.raises(TypeError, match="organ"):
        declare(double, organ=organ)


def test_where_a_skill_runs_follows_from_its_function():
    assert declare(double).kind is Kind.ASYNC
    assert declare(plain).kind is Kind.THREAD
    assert declare(plain, process=True).kind is Kind.PROCESS


def test_a_process_takes_no_async_function_and_none_that_cannot_be_imported():
    def inner(params: Number, context: SkillContext) -> Number:
        return params

    for function in (double, inner, lambda params, context: params):
        with pytest.raises(TypeError, match="process=True") as caught:
            declare(function, process=True)
        assert "acme.double" in str(caught.value)


def test_a_role_is_noted_and_held_to_what_an_organ_can_declare():
    assert declare(double).role is None
    assert declare(double, role="reader").role == "reader"
    with pytest.raises(TypeError, match="role"):
        declare(double, role="Not one")


def test_only_a_skill_in_a_thread_may_wait_for_the_hosts_loop():
    context = SkillContext(task_id="t", attempt=1, lease_token=2, idempotency_key="k", logger=None)
    assert context.cancelled is False
    with pytest.raises(RuntimeError, match="in an async skill, await"):
        context.run(double(Number(value=1), context))


def test_a_warm_up_is_noted_and_must_be_async():
    async def warm(_clients: Any) -> None:
        return

    assert declare(double).warm_up is None
    assert declare(double, warm_up=warm).warm_up is warm
    with pytest.raises(TypeError, match="warm_up must be an `async def`"):
        declare(double, warm_up=lambda _clients: None)
