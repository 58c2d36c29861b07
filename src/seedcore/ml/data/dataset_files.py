"""Reads training sets from CSV and Parquet files, only inside the `datasets` folder of the data directory."""

import csv
import errno
import importlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from seedcore.errors import (
    InvalidInputError,
    NotConfiguredError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)
from seedcore.ml.data import dataset

MAX_FILE_BYTES = 256 * 1024 * 1024
# Numbers as programs write them. `007`, `+7`, `1_000`, `٣` and 30 digits stay text: as numbers, different labels would
# become one.
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_NUMBER = re.compile(
    r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,4})?|-?\.[0-9]+(?:[eE][+-]?[0-9]{1,4})?"
)


def load_file(folder: Path, source: str, label_column: str, max_rows: int) -> dataset.Table:
    """The table in the file `source` of `folder`.

    Raises:
        InvalidInputError: the path is not valid or leaves the folder, or the content does not fit.
        NotFoundError: there is no such file.
        UnavailableError: the disk cannot be read.
        TooLargeError: the file or its count of rows is over the limit.
    """
    try:
        return _read(_inside(folder, source), source, label_column, max_rows)
    except FileNotFoundError:
        raise _not_found(folder, source) from None
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise _invalid(f"must name a file: {error.strerror}") from None
        raise UnavailableError(f"The file {source!r} in {folder} cannot be read: {error.strerror or error}.") from error


def _read(path: Path, source: str, label_column: str, max_rows: int) -> dataset.Table:
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise TooLargeError(f"data_source {source!r} has {size} bytes, at most {MAX_FILE_BYTES}.", limit=MAX_FILE_BYTES)
    if path.suffix.lower() == ".parquet":
        return _from_parquet(path, label_column, max_rows)
    try:
        return _from_csv(path, label_column, max_rows)
    except (UnicodeDecodeError, csv.Error) as error:
        raise _invalid(f"is not a CSV file in UTF-8: {error}") from None


def _inside(folder: Path, source: str) -> Path:
    if "\0" in source or Path(source).suffix.lower() not in (".csv", ".parquet"):
        raise _invalid("must name a .csv or .parquet file")
    root = folder.resolve()
    try:
        path = (root / source).resolve()
    except (UnicodeEncodeError, RuntimeError):  # a lone surrogate, a circle of symbolic links
        raise _invalid("must name a file") from None
    if not path.is_relative_to(root):
        raise _invalid(f"must stay inside {folder}")
    if not path.is_file():
        raise _not_found(folder, source)
    return path


def _not_found(folder: Path, source: str) -> NotFoundError:
    return NotFoundError(f"There is no file {source!r} in {folder}.")


def _from_csv(path: Path, label_column: str, max_rows: int) -> dataset.Table:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        columns = next(reader, None)
        if not columns:
            raise _invalid("is empty; its first line must name the columns")
        rows = (row for row in reader if row)

        def locate(_row: int, column: str | None) -> tuple[str, str]:
            return "data_source", f"line {reader.line_num}, {column}: " if column else f"line {reader.line_num} "

        return dataset.build_table(columns, rows, label_column, max_rows, locate, dataset.parse_cell, _typed_labels)


def _typed_labels(cells: Sequence[object]) -> list[object]:
    """A CSV holds text: labels become integers when all look like one, else numbers when all do, else stay text."""
    if any(not cell for cell in cells):
        raise InvalidInputError.for_field("label_column", "some labels are empty")
    texts = [str(cell).strip(" \t") for cell in cells]
    for pattern, kind in ((_INTEGER, int), (_NUMBER, float)):
        if all(map(pattern.fullmatch, texts)):
            return [kind(text) for text in texts]
    return list(cells)


def _from_parquet(path: Path, label_column: str, max_rows: int) -> dataset.Table:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
        arrow: Any = importlib.import_module("pyarrow")
    except ImportError:
        raise NotConfiguredError("Reading Parquet needs pyarrow: `pip install pyarrow`, or send a CSV.") from None

    def rows(file: Any) -> Iterator[Sequence[object]]:
        for batch in file.iter_batches(batch_size=8192):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def locate(row: int, column: str | None) -> tuple[str, str]:
        return "data_source", f"row {row}, {column}: " if column else f"row {row} "

    try:
        with parquet.ParquetFile(path) as file:
            columns = list(file.schema_arrow.names)
            return dataset.build_table(columns, rows(file), label_column, max_rows, locate)
    except (arrow.ArrowException, OSError) as error:  # Parquet raises OSError for damaged content
        raise _invalid(f"cannot be read as Parquet: {error}") from None


def _invalid(message: str) -> InvalidInputError:
    return InvalidInputError.for_field("data_source", message)
