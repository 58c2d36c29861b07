"""What tasks are made of, and what of them is sent."""

import json
import pickle
import typing
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from seedcore.client import NewTask, Options, Task, TaskFailedError, UnexpectedResultError
from seedcore.client.models import LimitOption
from seedcore.errors import InvalidInputError
from seedcore.tasks.submission.task_request import LimitIn, TaskIn
from tests.client.scripted_network import task

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBER = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBER, TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=10,
)


class Colour(Enum):
    RED = "red"


class Order(BaseModel):
    at: datetime
    number: int = Field(serialization_alias="no")
    colour: Colour = Colour.RED


def sent(new: NewTask) -> Any:
    return json.loads(new.encode())


def test_the_options_are_those_of_the_api():
    in_headers = {"tenant", "traceparent"}
    assert set(typing.get_type_hints(Options)) - in_headers == set(TaskIn.model_fields) - {"type", "params"}
    assert set(typing.get_type_hints(LimitOption)) == set(LimitIn.model_fields)


@settings(deadline=None)
@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_params_arrive_as_they_were_given(params: dict[str, Any]):
    assert sent(NewTask(type="echo", params=params)) == {"type": "echo", "params": params}


def test_models_and_rich_values_are_written_as_json():
    order = Order(at=datetime(2026, 1, 2, tzinfo=UTC), number=3)
    wanted = {"at": "2026-01-02T00:00:00Z", "no": 3, "colour": "red"}
    assert sent(NewTask(type="t", params=order))["params"] == wanted
    inside = {"order": order, "id": UUID(int=1), "colours": (Colour.RED,)}
    assert sent(NewTask(type="t", params=inside))["params"] == {
        "order": wanted,
        "id": "00000000-0000-0000-0000-000000000001",
        "colours": ["red"],
    }


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), object(), 2**64, "\ud800", lambda: 1],
    ids=["nan", "inf", "object", "big", "surrogate", "function"],
)
def test_what_json_has_no_word_for_is_refused(value: Any):
    for params in ({"value": value}, {"value": [None, {"deep": value}]}):
        with pytest.raises(InvalidInputError, match=r"^params: cannot be written as JSON") as raised:
            NewTask(type="echo", params=params).encode()
        assert [e.field for e in raised.value.errors] == ["params"]


def test_a_model_that_holds_what_json_lacks_is_refused():
    class Number(BaseModel):
        value: float

    with pytest.raises(InvalidInputError):
        NewTask(type="echo", params=Number(value=float("nan"))).encode()


@pytest.mark.parametrize("params", [[], "text", 1, {1: 2}])
def test_params_are_named_values(params: Any):
    with pytest.raises(ValidationError):
        NewTask(type="echo", params=params)


def test_only_options_that_were_set_are_sent():
    at = datetime(2026, 1, 2, tzinfo=UTC)
    new = NewTask(type="echo", priority=3, run_after=at, limit={"key": "k", "max_running": 2})
    assert sent(new).keys() == {"type", "priority", "run_after", "limit"}
    assert sent(new)["run_after"] == "2026-01-02T00:00:00Z"
    assert sent(new)["limit"]["max_running"] == 2


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"priority": 101}, "priority"),
        ({"run_after": datetime(2026, 1, 2)}, "run_after"),  # noqa: DTZ001 - it is what must be refused
        ({"queue": "No Queue"}, "queue"),
    ],
)
def test_options_are_held_against_the_api_before_anything_is_sent(options: dict[str, Any], field: str):
    with pytest.raises(InvalidInputError) as raised:
        NewTask.of("echo", None, options)
    assert [e.field for e in raised.value.errors] == [field]


def test_a_key_is_given_once():
    new = NewTask(type="echo")
    assert new.keyed("a").keyed("b").idempotency_key == "a"
    assert new.idempotency_key is None


def test_a_task_may_say_more_than_this_client_knows():
    got = Task.model_validate(task("completed", mood="good", decision={"route": "fast", "colour": "red"}))
    assert got.ended
    assert got.model_extra == {"mood": "good"}
    assert got.decision is not None
    assert got.decision.route == "fast"


def test_the_errors_cross_process_borders():
    ended = Task.model_validate(task("failed", error={"code": "skill_timeout", "message": "late"}))
    failed = pickle.loads(pickle.dumps(TaskFailedError.of(ended)))
    assert (failed.code, failed.message, failed.task) == ("skill_timeout", "late", ended)
    other = pickle.loads(pickle.dumps(UnexpectedResultError.of(ended, "no")))
    assert (other.task, other.detail.endswith("expected: no")) == (ended, True)
