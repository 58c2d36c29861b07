"""Goals that a text names: words that are names of skills or of their results. No guess beyond the names."""

import re
from collections.abc import Iterator, Mapping, Sequence

from seedcore.skills.signatures import Signature

_WORD = re.compile(r"[^\W\d_]{3,}")
_STEM = 5
_COMMON = frozenset(
    [
        "and",
        "any",
        "are",
        "but",
        "can",
        "ever",
        "for",
        "from",
        "get",
        "give",
        "has",
        "have",
        "how",
        "into",
        "its",
        "make",
        "more",
        "not",
        "now",
        "off",
        "one",
        "our",
        "out",
        "please",
        "should",
        "some",
        "take",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "what",
        "when",
        "which",
        "will",
        "with",
        "work",
        "you",
        "your",
        "value",
        "text",
        "name",
        "names",
        "result",
        "results",
        "data",
        "input",
        "inputs",
        "output",
        "task",
        "tasks",
    ]
)


def goals_in_text(text: str, inputs: Mapping[str, object], skills: Mapping[str, Signature]) -> list[str]:
    """Names of skills and of result fields that occur in the text, in the order of the text.

    A word names what begins like it: `summarise` names `text.summarize` and its field `summary`. A skill's own name
    stands for all of its results; a field that a named skill gives is not listed beside it.
    """
    words = [word.lower() for word in _WORD.findall(text)]
    words = [word for word in words if word not in _COMMON]
    named: dict[str, int] = {}
    for name in sorted(skills):
        if (at := _first(words, _parts(name))) is not None:
            named[name] = at
    covered = {field for name in named for field in skills[name].results}
    taken = {param for name in named for param in skills[name].params}
    for field in sorted({field for skill in skills.values() for field in skill.results}):
        if field in covered or field in taken or field in inputs or field.lower() in _COMMON:
            continue
        if (at := _first(words, [field.lower()])) is not None:
            named[field] = at
    return sorted(named, key=lambda name: (named[name], name))[:8]


def _parts(name: str) -> Iterator[str]:
    """The last part of a skill's name: the domain before it names many skills."""
    last = name.lower().rpartition(".")[2]
    yield last
    yield from (part for part in re.split(r"[_\-]", last) if part != last)


def _first(words: Sequence[str], names: Iterator[str] | list[str]) -> int | None:
    wanted = [name for name in names if len(name) > 2 and name not in _COMMON]
    return next((n for n, word in enumerate(words) if any(_alike(word, name) for name in wanted)), None)


def _alike(word: str, name: str) -> bool:
    if word == name:
        return True
    shared = next((n for n, (a, b) in enumerate(zip(word, name, strict=False)) if a != b), min(len(word), len(name)))
    return shared >= _STEM and max(len(word), len(name)) - shared <= 4
