"""Makes features of a task and of its outcome: a fixed number of values that a valve can watch, without payload."""

from collections.abc import Iterable
from functools import lru_cache
from math import isfinite, log1p, log2
from zlib import crc32

TEXT_BUCKETS, NUMBER_BUCKETS, ERROR_BUCKETS = 32, 12, 4

MIN_S = 0.1
"""Shorter times count as this: the time of a short task mostly says how many others ran at the same time."""

MAX_CHARACTERS, MAX_VALUES, MAX_DEPTH = 2_000, 256, 4
"""Limits on what is read of one task's params; the rest counts only as bytes."""

_NUMBERS = TEXT_BUCKETS
_LENGTH, _VALUES, _EMPTY, TASK_SIZE, _TYPE, _GAP = range(
    TEXT_BUCKETS + NUMBER_BUCKETS, TEXT_BUCKETS + NUMBER_BUCKETS + 6
)
TASK_COLUMNS = _GAP + 1
OUTCOME_COLUMNS = 2 + ERROR_BUCKETS
SUCCESS = 1
"""The column of an outcome that is 1 when it succeeded. TASK_SIZE is the column of a task with log(1 + bytes)."""


def task_features(type_: str, params: object, *, gap_s: float | None = None, size: int = 0) -> list[float]:
    """Features of one task, TASK_COLUMNS numbers.

    Counts of words by hash (anything that begins with a digit is one word), numbers by the hash of their field's name
    (log scale), the amount of text, the number of values and of empty ones, bytes, type, time since the previous task.

    Args:
        type_: the task's type.
        params: its params, any JSON value.
        gap_s: seconds since the stream's previous task; None when unknown, which counts as 0.
        size: bytes of its params.
    """
    row = [0.0] * TASK_COLUMNS
    left = _read(row, "", params, MAX_CHARACTERS, 0)
    row[_LENGTH] = log1p(MAX_CHARACTERS - left)
    row[TASK_SIZE] = log1p(size)
    row[_TYPE] = _bucket(type_, 1 << 16) / (1 << 16)
    row[_GAP] = 0.0 if gap_s is None else log1p(1e3 * max(gap_s, 0.0))
    return row


def outcome_features(seconds: float, ok: bool, error: str | None) -> list[float]:
    """Features of one outcome, OUTCOME_COLUMNS numbers: time in powers of two from MIN_S, success, the error by hash.

    Differences of less than a factor of two are noise of the machine.
    """
    row = [float(round(log2(max(seconds, MIN_S) / MIN_S))), float(ok), *([0.0] * ERROR_BUCKETS)]
    if error:
        row[2 + _bucket(error, ERROR_BUCKETS)] = 1.0
    return row


def _read(row: list[float], name: object, value: object, left: int, depth: int) -> int:
    """Read one value into the row; returns how many characters may still be read."""
    if row[_VALUES] >= MAX_VALUES or depth > MAX_DEPTH:
        return left
    if isinstance(value, str):
        row[_VALUES] += 1.0
        if left > 0:
            _read_text(row, value[:left])
        return max(left - len(value), 0)
    if isinstance(value, dict):
        return _read_all(row, value.items(), left, depth)
    if isinstance(value, (list, tuple)):
        return _read_all(row, ((name, item) for item in value), left, depth)
    row[_VALUES] += 1.0
    if value is None:
        row[_EMPTY] += 1.0
    elif isinstance(value, (int, float)):
        row[_NUMBERS + _bucket(name, NUMBER_BUCKETS)] += _signed_log(value)
    return left


def _read_all(row: list[float], items: Iterable[tuple[object, object]], left: int, depth: int) -> int:
    for name, item in items:
        if row[_VALUES] >= MAX_VALUES:
            break
        left = _read(row, name, item, left, depth + 1)
    return left


def _read_text(row: list[float], text: str) -> None:
    for word in text.lower().encode("utf-8", "replace").split():
        row[0 if word[0] < 58 else crc32(word.strip(b".,:;!?()[]\"'")) % TEXT_BUCKETS] += 1.0


def _signed_log(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if not isfinite(number):
        return 700.0
    return log1p(number) if number >= 0.0 else -log1p(-number)


@lru_cache(maxsize=4_096)
def _bucket(name: object, buckets: int) -> int:
    return crc32(str(name).encode("utf-8", "replace")) % buckets
