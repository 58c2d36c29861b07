"""What a skill may report of an attempt: amounts that were spent, and how far it is."""

from math import isfinite, nan
from typing import NotRequired, TypedDict

MAX_NOTE = 500
"""Characters of the note of a progress."""


class SkillProgress(TypedDict):
    """How far an attempt is; `total` is None when it is not known."""

    done: float
    total: float | None
    note: NotRequired[str]


def amount(name: str, value: float) -> float:
    """A number that a skill gave, which may be anything.

    Raises:
        ValueError: it is no number, not finite, or negative; the text begins with `name`.
    """
    try:
        number = nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = nan
    if not (isfinite(number) and number >= 0):
        # Python refuses to print an integer of 5,000 digits.
        shown = type(value).__name__ if isinstance(value, int) else repr(value)
        raise ValueError(f"{name} must be a finite number that is not negative, got {shown[:100]}")
    return number


def progress_of(done: float, total: float | None, note: str | None) -> SkillProgress:
    """A progress that can be stored.

    Raises:
        ValueError: see `SkillContext.progress`.
    """
    progress: SkillProgress = {"done": _plain(amount("progress: done", done)), "total": None}
    if total is not None:
        progress["total"] = _plain(amount("progress: total", total))
        if not progress["total"]:
            raise ValueError("progress: total must be greater than 0; None means that it is not known")
    if note is not None:
        progress["note"] = _note(note)
    return progress


def _plain(number: float) -> float:
    # 3 of 10, not 3.0 of 10.0.
    return int(number) if number.is_integer() and number < 2**53 else number


def _note(note: str) -> str:
    if not isinstance(note, str) or len(note) > MAX_NOTE:
        raise ValueError(f"progress: note must be text of at most {MAX_NOTE} characters")
    try:
        note.encode()
    except UnicodeEncodeError:
        storable = False
    else:
        storable = "\0" not in note
    if not storable:
        raise ValueError("progress: note must be text without U+0000 and lone surrogates")
    return str(note)
