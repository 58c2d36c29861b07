"""Reads training sets from CSV and Parquet files, only inside the `datasets` folder of the data directory."""

import csv
import errno
import importlib
import re
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seedcore.errors import (
    InvalidInputError,
    NotConfiguredError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)
from seedcore.ml.data.dataset import ColumnRoles, Table, TrainLimits
from seedcore.ml.data.dataset_builder import CHUNK_ROWS, TableBuilder

# Numbers as programs write them. `007`, `+7`, `1_000`, `٣` and 30 digits stay text: as numbers, different labels would
# become one.
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_NUMBER = re.compile(
    r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,4})?|-?\.[0-9]+(?:[eE][+-]?[0-9]{1,4})?"
)


def load_file(folder: Path, source: str, roles: ColumnRoles, limits: TrainLimits) -> Table:
    """The table in the file `source` of `folder`.

    Raises:
        InvalidInputError: the path is not valid or leaves the folder, or the content does not fit.
        NotFoundError: there is no such file.
        UnavailableError: the disk cannot be read.
        TooLargeError: the file, its count of rows or the memory for them is over the limit.
    """
    with _disk_errors(folder, source):
        return _read(_inside(folder, source), source, roles, limits)


def find_file(folder: Path, source: str) -> Path:
    """The path of the file `source` of `folder`; see `load_file` for what it raises."""
    with _disk_errors(folder, source):
        return _inside(folder, source)


@contextmanager
def _disk_errors(folder: Path, source: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise _not_found(folder, source) from None
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise _invalid(f"must name a file: {error.strerror}") from None
        raise UnavailableError(f"The file {source!r} in {folder} cannot be read: {error.strerror or error}.") from error


def _read(path: Path, source: str, roles: ColumnRoles, limits: TrainLimits) -> Table:
    size = path.stat().st_size
    if size > limits.file:
        raise TooLargeError(
            f"data_source {source!r} has {size} bytes, at most {limits.file} (SEEDCORE_MAX_DATASET_BYTES).",
            limit=limits.file,
        )
    if path.suffix.lower() == ".parquet":
        return _from_parquet(path, roles, limits)
    try:
        return _from_csv(path, roles, limits)
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


def _from_csv(path: Path, roles: ColumnRoles, limits: TrainLimits) -> Table:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        columns = next(reader, None)
        if not columns:
            raise _invalid("is empty; its first line must name the columns")
        lines = array("L")

        def rows() -> Iterator[Sequence[str]]:
            for row in reader:
                if row:
                    lines.append(reader.line_num)
                    yield row

        def locate(row: int, column: str | None) -> tuple[str, str]:
            line = lines[row] if row < len(lines) else 1
            return "data_source", f"line {line}, {column}: " if column else f"line {line} "

        builder = TableBuilder(columns, roles, limits, locate, cells=True, read_labels=_typed_labels)
        limits.check_size(min(_count_lines(path) - 1, limits.rows), len(columns))
        return builder.build(rows())


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _typed_labels(cells: Sequence[object]) -> list[object]:
    """A CSV holds text: labels become integers when all look like one, else numbers when all do, else stay text."""
    if any(not cell for cell in cells):
        raise InvalidInputError.for_field("label_column", "some labels are empty")
    texts = [str(cell).strip(" \t") for cell in cells]
    for pattern, kind in ((_INTEGER, int), (_NUMBER, float)):
        if all(map(pattern.fullmatch, texts)):
            return [kind(text) for text in texts]
    return list(cells)


def _from_parquet(path: Path, roles: ColumnRoles, limits: TrainLimits) -> Table:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
        arrow: Any = importlib.import_module("pyarrow")
    except ImportError:
        raise NotConfiguredError("Reading Parquet needs pyarrow: `pip install pyarrow`, or send a CSV.") from None
    as_they_are = {roles.label, roles.weight, roles.time, *roles.categories}

    def values(name: str, column: Any) -> Any:
        try:
            return read(name, column)
        except (ValueError, OverflowError) as error:
            # Text that is not UTF-8, a time outside the years 1 to 9999.
            raise _invalid(f"{name}: a value cannot be read: {error}"[:500]) from None

    def read(name: str, column: Any) -> Any:
        if arrow.types.is_dictionary(column.type):
            # Rows share their texts: many long ones, each stored once, would fill the memory.
            texts = column.dictionary.to_pylist()
            return [None if code is None else texts[code] for code in column.indices.to_pylist()]
        plain = arrow.types.is_integer(column.type) or arrow.types.is_floating(column.type)
        return column.to_numpy(zero_copy_only=False) if plain and name not in as_they_are else column.to_pylist()

    def locate(row: int, column: str | None) -> tuple[str, str]:
        return "data_source", f"row {row}, {column}: " if column else f"row {row} "

    try:
        with parquet.ParquetFile(path) as file:
            texts = [column.name for column in file.schema_arrow if _is_text(arrow, column.type)]
            for group in range(file.metadata.num_row_groups):
                if file.metadata.row_group(group).total_byte_size > limits.memory:
                    raise TooLargeError(
                        f"A row group of data_source has more than {limits.memory} bytes (SEEDCORE_MAX_TRAIN_BYTES).",
                        limit=limits.memory,
                    )
        with parquet.ParquetFile(path, read_dictionary=texts) as file:
            columns = list(file.schema_arrow.names)
            builder = TableBuilder(columns, roles, limits, locate)
            limits.check_rows(file.metadata.num_rows)
            limits.check_size(file.metadata.num_rows, len(columns))
            for batch in file.iter_batches(batch_size=2 * CHUNK_ROWS):
                builder.add_columns([values(name, column) for name, column in zip(columns, batch.columns, strict=True)])
            return builder.finish()
    except (arrow.ArrowException, OSError) as error:  # Parquet raises OSError for damaged content
        raise _invalid(f"cannot be read as Parquet: {error}") from None


def _is_text(arrow: Any, kind: Any) -> bool:
    return bool(arrow.types.is_string(kind) or arrow.types.is_large_string(kind))


def _invalid(message: str) -> InvalidInputError:
    return InvalidInputError.for_field("data_source", message)
