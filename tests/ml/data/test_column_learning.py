"""What is learnt of columns: types, categories, ranges, missing values; in requests, CSV and Parquet alike."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.errors import InvalidInputError, NotConfiguredError, TooLargeError
from seedcore.ml.data import bundled_sets, dataset_files, inline_rows
from seedcore.ml.data.column_encoder import ColumnEncoder
from seedcore.ml.data.column_learning import MAX_CATEGORIES, ColumnLearner, parse_cell
from seedcore.ml.data.dataset import ColumnRoles, Table, TrainLimits

LIMITS = TrainLimits(100_000)
COLUMNS = ["size", "colour", "new", "gone", "code", "y"]


def rows(n: int = 60) -> list[list[object]]:
    colours = ["red", "blue", "green", None]
    return [[i / 2 if i % 5 else None, colours[i % 4], i % 3 == 0, None, i % 7, "ab"[i % 2]] for i in range(n)]


def learnt(roles: ColumnRoles = ColumnRoles("y", categories=frozenset({"code"}))) -> Table:  # noqa: B008
    return inline_rows.from_rows(COLUMNS, rows(), roles, LIMITS)


def test_a_schema_is_learnt():
    size, colour, new, gone, code = learnt().schema
    assert (size.type, size.low, size.high, size.missing) == ("number", 0.5, 29.5, 12)
    assert (colour.type, colour.categories, colour.missing) == ("category", ["blue", "green", "red"], 15)
    assert (new.type, new.low, new.high) == ("boolean", 0, 1)
    assert (gone.type, gone.missing, gone.low) == ("number", 60, None)
    assert (code.type, code.categories) == ("category", [str(k) for k in range(7)])


def test_training_and_prediction_encode_alike():
    table = learnt()
    encoder = ColumnEncoder(table.columns, table.schema)
    found = encoder.rows([row[:5] for row in rows()])
    assert found.warnings == {}
    assert np.array_equal(found.matrix, table.matrix, equal_nan=True)


def write_csv(path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(
            [["" if v is None else str(v).lower() if v in (True, False) else v for v in r] for r in rows()]
        )


def test_a_csv_and_a_parquet_file_give_what_the_rows_give(tmp_path: Path):
    roles = ColumnRoles("y", categories=frozenset({"code"}))
    write_csv(tmp_path / "t.csv")
    found = dataset_files.load_file(tmp_path, "t.csv", roles, LIMITS)
    # A CSV has no booleans: its texts are categories.
    assert [column.type for column in found.schema] == ["number", "category", "category", "number", "category"]
    assert np.array_equal(found.matrix[:, :2], learnt().matrix[:, :2], equal_nan=True)
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = dict(zip(COLUMNS, map(list, zip(*rows(), strict=True)), strict=True))
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    found = dataset_files.load_file(tmp_path, "t.parquet", roles, LIMITS)
    assert found.schema == learnt().schema
    assert np.array_equal(found.matrix, learnt().matrix, equal_nan=True)
    assert found.digest() == learnt().digest()


def test_text_among_numbers_is_an_error_unless_the_column_is_declared():
    given_rows = [[1, i % 2] for i in range(12)]
    given_rows[5][0] = "x"  # type: ignore[call-overload]
    with pytest.raises(InvalidInputError, match="must be a number"):
        inline_rows.from_rows(["c", "y"], given_rows, ColumnRoles("y"), LIMITS)
    table = inline_rows.from_rows(["c", "y"], given_rows, ColumnRoles("y", categories=frozenset({"c"})), LIMITS)
    assert table.schema[0].categories == ["1", "x"]


def test_too_many_categories_are_an_error_that_names_the_column():
    given_rows = [[f"t{i}", i % 2] for i in range(MAX_CATEGORIES + 1)]
    with pytest.raises(InvalidInputError, match=f"id: more than {MAX_CATEGORIES} different texts"):
        inline_rows.from_rows(["id", "y"], given_rows, ColumnRoles("y"), LIMITS)


@pytest.mark.parametrize("value", [[1], {"a": 1}, 1.5, "x" * 201])
def test_what_is_no_category_is_named(value):
    given_rows = [["a", i % 2] for i in range(12)]
    given_rows[7][0] = value
    with pytest.raises(InvalidInputError) as caught:
        inline_rows.from_rows(["c", "y"], given_rows, ColumnRoles("y"), LIMITS)
    assert [e.field for e in caught.value.errors] == ["rows.7"]


@pytest.mark.parametrize(
    ("roles", "field"),
    [
        (ColumnRoles("y", weight="w"), "weight_column"),
        (ColumnRoles("y", time="t"), "time_column"),
        (ColumnRoles("y", categories=frozenset({"z"})), "category_columns"),
        (ColumnRoles("y", weight="y"), "label_column"),
        (ColumnRoles("y", categories=frozenset({"y"})), "label_column"),
        (ColumnRoles("y", weight="x"), "columns"),
    ],
)
def test_roles_name_columns_that_are_there_once(roles: ColumnRoles, field: str):
    with pytest.raises(InvalidInputError) as caught:
        inline_rows.from_rows(["x", "y"], [[1, i % 2] for i in range(12)], roles, LIMITS)
    assert [e.field for e in caught.value.errors] == [field]


def test_memory_is_checked_before_rows_are_read():
    tight = TrainLimits(100_000, memory=1 << 20)
    with pytest.raises(TooLargeError, match="SEEDCORE_MAX_TRAIN_BYTES"):
        # The rows are no rows: nothing looked at them.
        inline_rows.from_rows([f"c{i}" for i in range(40)], [[]] * 2000, ColumnRoles("c0"), tight)


def test_a_large_file_is_refused_by_its_lines(tmp_path: Path):
    (tmp_path / "t.csv").write_text("x,y\n" + "?\n" * 50_000)
    with pytest.raises(TooLargeError, match="SEEDCORE_MAX_TRAIN_BYTES"):
        dataset_files.load_file(tmp_path, "t.csv", ColumnRoles("y"), TrainLimits(100_000, memory=1 << 20))


CELLS = st.one_of(st.sampled_from(["", "nan", " 1", "1e5", "-.5", "x", "1_0", "inf", "1e999", "٣", "\n"]), st.text())


@given(st.lists(CELLS, max_size=30))
def test_many_cells_are_read_as_each_alone(cells: list[str]):
    learner = ColumnLearner("x", cells=True)
    learner.category = False
    numbers, wrong = learner.add(cells)
    expected, places = [], []
    for place, cell in enumerate(cells):
        try:
            expected.append(parse_cell(cell))
        except ValueError:
            expected.append(np.nan)
            places.append(place)
    assert np.array_equal(numbers, np.array(expected, dtype=np.float32), equal_nan=True)
    assert [place for place, _ in wrong] == places


@given(st.lists(st.sampled_from(["b", "a", None, "c"]), min_size=1), st.integers(1, 5))
def test_chunks_make_no_difference(values: list, chunk: int):
    whole, parts = ColumnLearner("x", category=True), ColumnLearner("x", category=True)
    one, _ = whole.add(values)
    other = np.concatenate([parts.add(values[i : i + chunk])[0] for i in range(0, len(values), chunk)])
    assert whole.finish(one) == parts.finish(other)
    assert np.array_equal(one, other, equal_nan=True)


@pytest.mark.parametrize("name", bundled_sets.NAMES)
def test_bundled_sets_are_training_sets(name: str):
    table = bundled_sets.load_bundled(f"bundled:{name}", ColumnRoles("target"), LIMITS)
    kind = {"diabetes": "number", "digits": "integer"}.get(name, "string")
    assert table.label_kind == kind
    assert len(table.targets) > 100


def test_an_unknown_bundled_set_names_those_there_are():
    with pytest.raises(InvalidInputError, match="bundled:iris"):
        bundled_sets.load_bundled("bundled:../x", ColumnRoles("target"), LIMITS)


def test_without_scikit_learn_bundled_sets_say_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(NotConfiguredError, match=r"seedcore\[demo\]"):
        bundled_sets.bundled_name("bundled:iris")
