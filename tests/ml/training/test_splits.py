import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.ml.data.dataset import ColumnRoles, Table, TrainLimits
from seedcore.ml.data.inline_rows import from_rows
from seedcore.ml.training.splits import split


def table(labels: list, times: bool = False) -> Table:
    rows = [[float(i), label, -i] for i, label in enumerate(labels)]
    columns = ["x", "y", "t"]
    return from_rows(columns, rows, ColumnRoles("y", time="t" if times else None), TrainLimits(10_000))


@given(
    st.lists(st.sampled_from("ab"), min_size=10).filter(lambda y: min(y.count("a"), y.count("b")) >= 2),
    st.booleans(),
    st.booleans(),
    st.integers(0, 10),
)
def test_every_row_is_in_one_part(labels: list[str], times: bool, stopping: bool, seed: int):
    parts = split(table(labels, times), seed, stopping=stopping)
    everything = [*parts.fitting, *parts.stopping, *parts.held]
    assert sorted(everything) == list(range(len(labels)))
    assert len(parts.fitting) > 0
    assert len(parts.held) > 0
    assert (len(parts.stopping) > 0) == stopping or not times


def test_the_newest_rows_are_held_out_and_those_before_say_when_to_stop():
    parts = split(table([0, 1] * 50, times=True), 0, stopping=True)
    # The time runs against the order of the rows.
    assert parts.held.tolist() == list(range(20))
    assert parts.stopping.tolist() == list(range(20, 36))
    assert parts.fitting.tolist() == list(range(36, 100))


@pytest.mark.parametrize("stopping", [False, True])
def test_stopping_rows_leave_the_held_out_rows_as_they_are(stopping: bool):
    made = table([0, 1] * 50)
    assert np.array_equal(split(made, 3, stopping=stopping).held, split(made, 3).held)
