import math

import numpy as np
import pytest

from seedcore.errors import InvalidInputError, TooLargeError
from seedcore.ml.data import inline_rows
from seedcore.ml.data.dataset import ColumnRoles, Table, TrainLimits
from tests.ml.support import flowers


def from_rows(columns, rows, label, limit) -> Table:
    return inline_rows.from_rows(columns, rows, ColumnRoles(label), TrainLimits(limit))


def from_records(records, label, limit) -> Table:
    return inline_rows.from_records(records, ColumnRoles(label), TrainLimits(limit))


def rows(labels, n=12):
    return [[float(i), labels[i % len(labels)]] for i in range(n)]


def fields(caught):
    return [e.field for e in caught.value.errors]


@pytest.mark.parametrize(
    ("labels", "kind", "classes"),
    [
        ([0, 1], "integer", (0, 1)),
        (["b", "a"], "string", ("a", "b")),
        ([True, False], "boolean", (False, True)),
        ([0.5, 1.5], "number", ()),
        ([1, 2.5], "number", ()),
    ],
)
def test_the_type_of_the_labels_decides_what_is_learnt(labels, kind, classes):
    table = from_rows(["x", "y"], rows(labels), "y", 100)
    assert table.label_kind == kind
    assert table.labels == classes
    assert [type(c) for c in table.labels] == [type(c) for c in classes]
    assert table.matrix.shape == (12, 1)


def test_null_and_nan_are_missing_values_and_booleans_are_numbers():
    given = rows([0, 1])
    given[0][0], given[1][0], given[2][0] = None, math.nan, True
    table = from_rows(["x", "y"], given, "y", 100)
    assert np.isnan(table.matrix[:2, 0]).all()
    assert table.matrix[2, 0] == 1


def test_records_give_the_same_table_as_rows():
    made = flowers()
    records = [dict(zip(reversed(made["columns"]), reversed(row), strict=True)) for row in made["rows"]]
    one = from_rows(made["columns"], made["rows"], "kind", 1000)
    two = from_records(records, "kind", 1000)
    order = [two.columns.index(c) for c in one.columns]
    assert np.array_equal(one.matrix, two.matrix[:, order])
    assert np.array_equal(one.targets, two.targets)


@pytest.mark.parametrize(
    ("columns", "label", "field"),
    [
        (["x", "z"], "y", "label_column"),
        (["y", "y"], "y", "columns"),
        (["", "y"], "y", "columns"),
        (["y"], "y", "columns"),
    ],
)
def test_bad_columns_are_named(columns, label, field):
    with pytest.raises(InvalidInputError) as caught:
        from_rows(columns, rows([0, 1]), label, 100)
    assert field in fields(caught)


def test_every_bad_cell_and_row_is_named_up_to_a_bound():
    given = rows([0, 1], 60)
    given[3][0], given[5][0], given[7] = "abc", math.inf, [1.0]
    with pytest.raises(InvalidInputError) as caught:
        from_rows(["x", "y"], given, "y", 100)
    assert fields(caught) == ["rows.3", "rows.5", "rows.7"]
    assert "'abc'" in caught.value.errors[0].message
    with pytest.raises(InvalidInputError) as caught:
        from_rows(["x", "y"], [[1.0, 0], *[["?", 0]] * 60], "y", 100)
    assert len(fields(caught)) == 20


def test_a_record_with_other_columns_is_named():
    records = [{"x": 1.0, "y": i % 2} for i in range(12)]
    records[4] = {"x": 1.0, "z": 1}
    with pytest.raises(InvalidInputError) as caught:
        from_records(records, "y", 100)
    assert fields(caught) == ["dataset.4"]
    records[4] = {"x": [1], "y": 1}
    with pytest.raises(InvalidInputError) as caught:
        from_records(records, "y", 100)
    assert fields(caught) == ["dataset.4.x"]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([1], "one class only"),
        ([1.5], "one value only"),
        ([1, "a"], "different types"),
        ([1, True], "different types"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(labels, says):
    with pytest.raises(InvalidInputError, match=says) as caught:
        from_rows(["x", "y"], rows(labels), "y", 100)
    assert fields(caught) == ["label_column"]


def test_a_missing_label_is_named_by_its_row():
    given = rows([0, 1])
    given[2][1] = None
    with pytest.raises(InvalidInputError) as caught:
        from_rows(["x", "y"], given, "y", 100)
    assert fields(caught) == ["rows.2"]


def test_a_class_with_one_row_cannot_be_measured():
    given = rows([0, 1])
    given[0][1] = 7
    with pytest.raises(InvalidInputError, match="at least 2 rows"):
        from_rows(["x", "y"], given, "y", 100)


def test_too_many_classes_hint_at_floats():
    with pytest.raises(InvalidInputError, match="floats"):
        from_rows(["x", "y"], [[1.0, i // 2] for i in range(600)], "y", 1000)


def test_the_count_of_rows_is_bounded_at_both_ends():
    with pytest.raises(InvalidInputError, match="at least 10"):
        from_rows(["x", "y"], rows([0, 1], 9), "y", 100)
    with pytest.raises(InvalidInputError, match="at least 10"):
        from_records([], "y", 100)
    with pytest.raises(TooLargeError, match="SEEDCORE_MAX_TRAIN_ROWS"):
        from_rows(["x", "y"], rows([0, 1], 101), "y", 100)
