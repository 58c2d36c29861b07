import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.errors import InvalidInputError
from seedcore.ml.data.column_encoder import ColumnEncoder, feature_types
from seedcore.schemas.ml.models import Column

COLUMNS = [
    Column(name="size", type="number"),
    Column(name="colour", type="category", categories=["3", "blue", "red", "true"]),
    Column(name="new", type="boolean"),
]
ENCODER = ColumnEncoder([c.name for c in COLUMNS], COLUMNS)


def test_values_get_the_numbers_of_their_columns():
    row, warnings = ENCODER.row({"new": True, "size": 2, "colour": "red"})
    assert (row, warnings) == ([2.0, 2.0, 1.0], [])
    assert ENCODER.row([True, 3, 0])[0] == [1.0, 0.0, 0.0]
    assert ENCODER.row([0.5, True, False])[0] == [0.5, 3.0, 0.0]


def test_null_and_nan_are_missing_in_every_column():
    for nothing in (None, math.nan):
        assert np.isnan(ENCODER.row([nothing] * 3)[0]).all()


def test_an_unseen_category_is_missing_and_says_so():
    row, warnings = ENCODER.row([1, "green", None])
    assert math.isnan(row[1])
    assert [w.field for w in warnings] == ["features.colour"]
    assert "'green'" in warnings[0].message


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"size": "1", "colour": "red", "new": True}, "features.size"),
        ({"size": math.inf, "colour": "red", "new": True}, "features.size"),
        ({"size": 10**400, "colour": "red", "new": True}, "features.size"),
        ({"size": [], "colour": "red", "new": True}, "features.size"),
        ({"size": 1, "colour": 1.5, "new": True}, "features.colour"),
        ({"size": 1, "colour": 10**5000, "new": True}, "features.colour"),
        ({"size": 1, "colour": {}, "new": True}, "features.colour"),
        ({"size": 1, "colour": "red", "new": 2}, "features.new"),
        ({"size": 1, "colour": "red", "new": "yes"}, "features.new"),
        ({"size": 1, "colour": "red"}, "features.new"),
        ({"size": 1, "colour": "red", "new": True, "old": 1}, "features.old"),
        ([1, "red"], "features"),
    ],
)
def test_what_does_not_fit_is_an_error_that_names_the_column(row, field):
    with pytest.raises(InvalidInputError) as caught:
        ENCODER.row(row)
    assert [e.field for e in caught.value.errors] == [field]


def test_a_bad_row_of_many_affects_no_other():
    found = ENCODER.rows([[1, "red", True], [1, "red", 7], {"size": 2, "colour": "green", "new": None}])
    assert found.places == [0, 2]
    assert list(found.errors) == [1]
    assert list(found.warnings) == [2]
    assert np.array_equal(found.matrix[0], [1, 2, 1])


def test_types_of_features_are_given_only_where_there_are_categories():
    assert feature_types(COLUMNS) == ["q", "c", "q"]
    assert feature_types([COLUMNS[0], COLUMNS[2]]) is None


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.integers(), st.floats(), st.sampled_from(["red", "x", "", "3"])
)
ROWS = st.lists(st.lists(VALUES, min_size=2, max_size=4) | st.fixed_dictionaries(dict.fromkeys(ENCODER.names, VALUES)))


@given(ROWS)
def test_many_rows_are_encoded_as_each_alone(rows):
    found = ENCODER.rows(rows)
    assert sorted([*found.places, *found.errors]) == list(range(len(rows)))
    for place, vector in zip(found.places, found.matrix, strict=True):
        row, warnings = ENCODER.row(rows[place])
        assert np.array_equal(vector, np.array(row, dtype=np.float32), equal_nan=True)
        assert found.warnings.get(place, []) == warnings
    for place in found.errors:
        with pytest.raises(InvalidInputError):
            ENCODER.row(rows[place])
