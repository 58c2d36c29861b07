from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from seedcore.skills.jsontypes import ANY, fits, of_schema, of_value, shown


class Colour(Enum):
    RED = "red"


class Inner(BaseModel):
    x: int


class Everything(BaseModel):
    text: str
    whole: int
    real: float
    flag: bool
    maybe: str | None
    either: int | str
    names: list[str]
    deep: list[list[int]]
    some: list[Any]
    inner: Inner
    table: dict[str, float]
    colour: Colour
    word: Literal["a", "b"]
    anything: Any


FIELDS = Everything.model_json_schema()


def kind(name: str):
    return of_schema(FIELDS["properties"][name], FIELDS["$defs"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("text", "string"),
        ("whole", "integer"),
        ("real", "number"),
        ("flag", "boolean"),
        ("maybe", "null or string"),
        ("either", "integer or string"),
        ("names", "array of string"),
        ("deep", "array of array of integer"),
        ("inner", "object"),
        ("table", "object"),
        ("colour", "string"),
        ("word", "string"),
        ("anything", "any"),
    ],
)
def test_pydantic_fields_have_their_json_types(name: str, words: str):
    assert shown(kind(name)) == words


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        ("a", "text", True),
        (1, "text", False),
        (1, "real", True),
        (1.5, "whole", False),
        (True, "whole", False),
        (None, "maybe", True),
        (None, "text", False),
        ([], "names", True),
        (["a"], "names", True),
        (["a", 1], "names", False),
        ([[1], []], "deep", True),
        ([[1.5]], "deep", False),
        ([1, "a"], "some", True),
        ({"x": 1}, "inner", True),
        ([], "inner", False),
        ({}, "anything", True),
    ],
)
def test_a_value_fits_where_its_type_is_wanted(value: Any, name: str, expected: bool):
    assert fits(of_value(value), kind(name)) is expected


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        ("text", "maybe", True),
        ("maybe", "text", False),
        ("whole", "either", True),
        ("either", "whole", False),
        ("names", "some", True),
        ("some", "names", False),
        ("anything", "text", False),
        ("text", "anything", True),
        ("anything", "anything", True),
    ],
)
def test_a_field_fits_only_where_each_of_its_values_would(given: str, wanted: str, expected: bool):
    assert fits(kind(given), kind(wanted)) is expected


def test_a_schema_that_refers_to_itself_ends():
    schema = {"$ref": "#/$defs/Tree"}
    definitions = {"Tree": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}
    assert shown(of_schema(schema, definitions)).startswith("array of array")
    assert of_schema({"$ref": "#/$defs/Loop"}, {"Loop": {"$ref": "#/$defs/Loop"}}) == ANY
