"""Checks JSON text: whether PostgreSQL can keep it, and common readers can read it."""

import math
import re

MAX_DEPTH = 100
"""Levels that params and results may nest: readers in Python and Rust give up between 200 and 1,000."""

MAX_SHOWN_DEPTH = 150
"""Levels that a stored value may nest to be shown: a plan's output holds what a step gave, and plans hold plans. The
strictest reader that we know gives up at 200, and an answer has levels of its own."""

# PostgreSQL writes a number without exponent: the largest double has 309 digits in front of the point.
_LONG_NUMBER = re.compile(r"(?<![0-9.])[0-9]{309,}")

# An odd number of backslashes before the `u`: an even one is text that speaks of U+0000.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_MAYBE_LONG = re.compile(r"\d{19}")
_LONG_INTEGER = re.compile(r"(?<![\d.eE+-])-?\d{19,}(?![\d.eE])")
_STRING_OR_LONG_INTEGER = re.compile(f"{_STRING.pattern}|{_LONG_INTEGER.pattern}")
_BRACKET = re.compile(r"[\[\]{}]")


def unfit(text: str) -> str | None:
    """Why valid JSON `text` cannot be kept, or None when it can."""
    if "\\u0000" in text and _NUL.search(text):
        return "holds U+0000, which PostgreSQL cannot keep"
    # Counting is fast and settles it for nearly all.
    if text.count("[") + text.count("{") > MAX_DEPTH and depth(text) > MAX_DEPTH:
        return f"nests deeper than {MAX_DEPTH} levels"
    if _MAYBE_LONG.search(text) and not all(map(_has_64_bits, _LONG_INTEGER.findall(_STRING.sub("", text)))):
        return "holds an integer of more than 64 bits, which most readers round: write it as text"
    return None


def _has_64_bits(number: str) -> bool:
    # 20 characters are the most that such a number takes; Python reads no integers of 5,000 digits.
    return len(number) <= 20 and -(2**63) <= int(number) < 2**64


def with_doubles(text: str) -> str:
    """Valid JSON `text` with integers of more than 64 bits as the doubles that they are closest to.

    PostgreSQL writes 1e21 without exponent, and Python's readers would make an integer of it.
    """
    return _STRING_OR_LONG_INTEGER.sub(_as_double, text) if _MAYBE_LONG.search(text) else text


def _as_double(found: re.Match[str]) -> str:
    token = found[0]
    if token.startswith('"') or _has_64_bits(token) or math.isinf(float(token)):
        return token
    return repr(float(token))


def unreadable(text: str) -> str | None:
    """Why common readers of JSON cannot read valid JSON `text` as PostgreSQL writes it, or None when they can.

    `seedcore.enqueue` refuses such values; rows that were stored before it did may hold them.
    """
    if text.count("[") + text.count("{") > MAX_SHOWN_DEPTH and depth(text) > MAX_SHOWN_DEPTH:
        return f"nests deeper than {MAX_SHOWN_DEPTH} levels"
    if _LONG_NUMBER.search(text):
        for digits in _LONG_NUMBER.findall(_STRING.sub("", text)):
            if math.isinf(float(digits)):
                return "holds a number that no double can hold"
    return None


def depth(text: str) -> int:
    """How deep arrays and objects nest in valid JSON `text`."""
    level = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        level += 1 if bracket in "[{" else -1
        deepest = max(deepest, level)
    return deepest
