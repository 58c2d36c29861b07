"""A batch comes out of its columns as it went in."""

import pytest
from ray import cloudpickle

from seedcore.skills.host_protocol import Call, Completion, calls_of, completions_of, to_columns

CALLS = [Call(f"t-{n}", n, 1, "echo", '{"value": "ü"}', "a-1", None if n % 2 else 0.5, f"key-{n}") for n in range(3)]
ENDS = [
    Completion("t-1", 1, "a-1", "echo", True, 0.25, "{}"),
    Completion("t-2", 2, "a-1", "echo", False, 0.5, error_code="x", error_message="y", retryable=True),
]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_calls_come_out_of_their_columns_as_they_went_in(count: int):
    assert calls_of(cloudpickle.loads(cloudpickle.dumps(to_columns(CALLS[:count])))) == CALLS[:count]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_completions_come_out_of_their_columns_as_they_went_in(count: int):
    assert completions_of(cloudpickle.loads(cloudpickle.dumps(to_columns(ENDS[:count])))) == ENDS[:count]


def test_columns_of_different_lengths_are_refused():
    columns = list(to_columns(CALLS))
    columns[1] = columns[1][:-1]
    with pytest.raises(ValueError, match="argument 2"):
        calls_of(tuple(columns))


def test_usage_crosses_only_when_somebody_reported_some():
    assert len(to_columns(ENDS)) == len(Completion._fields) - 1
    spent = [ENDS[0]._replace(usage=(3.0, 0.5)), *ENDS[1:]]
    assert completions_of(to_columns(spent)) == spent
