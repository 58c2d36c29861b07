import csv
import errno
from pathlib import Path

import numpy as np
import pytest

from seedcore.errors import InvalidInputError, NotConfiguredError, NotFoundError, TooLargeError, UnavailableError
from seedcore.ml.data import dataset_files, inline_rows
from seedcore.ml.data.dataset import ColumnRoles, Table, TrainLimits
from tests.ml.support import flowers


def load(folder: Path, source: str, label: str, rows: int) -> Table:
    return dataset_files.load_file(folder, source, ColumnRoles(label), TrainLimits(rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "datasets"
    (made / "sub").mkdir(parents=True)
    table = flowers()
    with (made / "sub" / "flowers.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table["columns"])
        writer.writerows(table["rows"])
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    return made


def test_a_csv_gives_the_same_table_as_its_rows(folder: Path):
    table = flowers()
    expected = inline_rows.from_rows(table["columns"], table["rows"], ColumnRoles("kind"), TrainLimits(1000))
    found = load(folder, "sub/flowers.csv", "kind", 1000)
    assert found.columns == expected.columns
    assert found.labels == expected.labels
    assert np.allclose(found.matrix, expected.matrix)


@pytest.mark.parametrize(("cells", "kind"), [("01", "integer"), (("0.5", "2"), "number"), ("ab", "string")])
def test_labels_of_a_csv_get_the_narrowest_type(folder: Path, cells, kind):
    lines = ["x,y", *(f"{i},{cells[i % 2]}" for i in range(12))]
    (folder / "t.csv").write_text("\n".join(lines))
    assert load(folder, "t.csv", "y", 100).label_kind == kind


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (("007", "7"), ("007", "7")),
        (("+5", "5"), ("+5", "5")),
        (("1_000", "1000"), ("1000", "1_000")),
        (("٣", "3"), ("3", "٣")),
        (("nan", "1"), ("1", "nan")),
        (("1e5", "x"), ("1e5", "x")),
        (("123456789012345678901", "123456789012345678902"), ("123456789012345678901", "123456789012345678902")),
        (("-3", "0"), (-3, 0)),
        ((" 7", "8 "), (7, 8)),
    ],
)
def test_labels_are_text_unless_every_one_is_a_plain_number(
    folder: Path, cells: tuple[str, str], labels: tuple[str, str]
):
    lines = ["x,y", *(f"{i},{cells[i % 2]}" for i in range(12))]
    (folder / "t.csv").write_text("\n".join(lines))
    assert load(folder, "t.csv", "y", 100).labels == labels


@pytest.mark.parametrize("cell", ["1_000", "٣", "infinity", "0x10", "1 000", "1e"])
def test_a_feature_that_is_no_plain_number_is_refused(folder: Path, cell: str):
    (folder / "t.csv").write_text("\n".join(["x,y", *(f"{i},{i % 2}" for i in range(12)), f"{cell},1"]))
    with pytest.raises(InvalidInputError, match="line 14, x: must be a number or empty"):
        load(folder, "t.csv", "y", 100)


def test_numbers_as_programs_write_them_are_features(folder: Path):
    cells = ["01", "+2", " 3", "4.", ".5", "6e0", "-7.0E-1", "nan", "", "1e-400"]
    (folder / "t.csv").write_text("\n".join(["x,y", *(f"{cell},{n % 2}" for n, cell in enumerate(cells))]))
    found = load(folder, "t.csv", "y", 100).matrix[:, 0]
    assert np.allclose(found, [1, 2, 3, 4, 0.5, 6, -0.7, np.nan, np.nan, 0], equal_nan=True)


@pytest.mark.parametrize(
    "source", ["a" * 256 + ".csv", "a/" * 3000 + "t.csv", "\ud800.csv", "ü" * 200 + ".csv", "circle.csv", "a\0.csv"]
)
def test_what_cannot_be_the_name_of_a_file_is_refused(folder: Path, source: str):
    (folder / "circle.csv").symlink_to(folder / "circle.csv")
    with pytest.raises(InvalidInputError) as caught:
        load(folder, source, "y", 100)
    assert [e.field for e in caught.value.errors] == ["data_source"]


def test_a_file_that_the_disk_refuses_is_unavailable(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UnavailableError, match="Input/output error"):
        load(folder, "sub/flowers.csv", "kind", 1000)


def test_an_empty_cell_is_a_missing_value(folder: Path):
    (folder / "t.csv").write_text("x,y\n" + "".join(f"{'' if i == 3 else i},{i % 2}\n" for i in range(12)))
    assert np.isnan(load(folder, "t.csv", "y", 100).matrix[3, 0])


def test_a_bad_cell_is_named_by_line_and_column(folder: Path):
    (folder / "t.csv").write_text("x,y\n1,0\noops,1\n")
    with pytest.raises(InvalidInputError, match="line 3, x: must be a number") as caught:
        load(folder, "t.csv", "y", 100)
    assert caught.value.errors[0].field == "data_source"


@pytest.mark.parametrize("path", ["../secret.csv", "/etc/passwd", "sub/../../secret.csv", "link.csv", "a\0.csv"])
def test_no_path_leads_out_of_the_folder(folder: Path, path: str):
    (folder / "link.csv").symlink_to(folder.parent / "secret.csv")
    with pytest.raises(InvalidInputError) as caught:
        load(folder, path, "a", 100)
    assert caught.value.errors[0].field == "data_source"


def test_a_file_that_is_not_there_is_not_found(folder: Path):
    with pytest.raises(NotFoundError):
        load(folder, "none.csv", "y", 100)
    with pytest.raises(NotFoundError):
        load(folder.parent / "absent", "none.csv", "y", 100)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'x,y\n"1,0\n'])
def test_a_file_that_is_no_csv_is_refused(folder: Path, content: bytes):
    (folder / "t.csv").write_bytes(content)
    with pytest.raises(InvalidInputError):
        load(folder, "t.csv", "y", 100)


def test_a_file_over_the_limit_is_refused_unread(folder: Path):
    with (folder / "big.csv").open("wb") as file:
        file.truncate(TrainLimits(1).file + 1)
    with pytest.raises(TooLargeError):
        load(folder, "big.csv", "y", 100)


def test_parquet_is_read_or_the_missing_library_named(folder: Path):
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        (folder / "t.parquet").write_bytes(b"PAR1")
        with pytest.raises(NotConfiguredError, match="pip install pyarrow"):
            load(folder, "t.parquet", "kind", 1000)
        return
    table = flowers()
    columns = dict(zip(table["columns"], zip(*table["rows"], strict=True), strict=True))
    pyarrow.parquet.write_table(pyarrow.table({k: list(v) for k, v in columns.items()}), folder / "t.parquet")
    expected = inline_rows.from_rows(table["columns"], table["rows"], ColumnRoles("kind"), TrainLimits(1000))
    assert np.array_equal(load(folder, "t.parquet", "kind", 1000).matrix, expected.matrix)
    (folder / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(InvalidInputError, match="Parquet"):
        load(folder, "t.parquet", "kind", 1000)
