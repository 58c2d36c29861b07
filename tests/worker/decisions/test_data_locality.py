"""Where a task's data is: read from its params, whatever they hold."""

import json
from typing import Any

import pytest

from seedcore.worker.decisions.data_locality import data_of


class Task:
    def __init__(self, params: Any) -> None:
        self.params = json.dumps(params)


@pytest.mark.parametrize("at", ["a-1", "x" * 200])
def test_a_place_and_its_bytes_are_read(at: str):
    assert data_of(Task({"value": 1, "locality": {"at": at, "bytes": 10, "more": None}})) == (at, 10.0)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"value": {"locality": {"at": "a", "bytes": 1}}},
        {"locality": "a"},
        {"locality": None},
        {"locality": {"at": "a"}},
        {"locality": {"at": "", "bytes": 1}},
        {"locality": {"at": "x" * 201, "bytes": 1}},
        {"locality": {"at": "a", "bytes": 0}},
        {"locality": {"at": "a", "bytes": True}},
        {"locality": {"at": "a", "bytes": "1"}},
        {"locality": {"at": "a", "bytes": 10**400}},
        {"locality": {"at": 1, "bytes": 1}},
    ],
)
def test_what_is_no_place_with_bytes_is_none(params: Any):
    assert data_of(Task(params)) is None
