"""An incident in words: what stopped looking like its past, and how it fails. Like incidents read alike."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seedcore.skills import jsontypes
from seedcore.tasks.plans.moves import DirectEnd

MAX_NAMED = 12
"""Params and error codes that a description names."""

MAX_NAME = 80


@dataclass(frozen=True, slots=True)
class ChangedWork:
    """Work of a skill, in a domain, that changed: the names and types of its params, and its frequent error codes."""

    type: str
    domain: str | None
    params: tuple[tuple[str, str], ...]
    codes: tuple[str, ...]

    @classmethod
    def of(cls, type_: str, stream: str, inputs: Mapping[str, object], direct: Sequence[DirectEnd]) -> "ChangedWork":
        """The incident of a task of `stream`. Values of params are never part of it."""
        domain = stream.removesuffix(f"/{type_}") if stream != type_ else None
        typed = sorted((name[:MAX_NAME], jsontypes.shown(jsontypes.of_value(value))) for name, value in inputs.items())
        counted = Counter(end.code for end in direct if end.code is not None and end.changed)
        codes = sorted(code for code, _ in counted.most_common(3))
        return cls(type_, domain, tuple(typed[:MAX_NAMED]), tuple(codes))

    @property
    def text(self) -> str:
        """A description, without numbers: the same incident always reads the same."""
        where = "" if self.domain is None else f" in {self.domain}"
        params = ", ".join(f"{name} ({kind})" for name, kind in self.params)
        fails = f" It fails with {', '.join(self.codes)}." if self.codes else ""
        return f"Work of {self.type}{where} stopped looking like its past. It takes {params}.{fails}"


def likeness(one: str, other: str) -> float:
    """How alike two descriptions are, by their words: the Jaccard index, in [0, 1]."""
    a, b = _words(one), _words(other)
    return len(a & b) / len(a | b) if a or b else 0.0


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", text.lower()))
