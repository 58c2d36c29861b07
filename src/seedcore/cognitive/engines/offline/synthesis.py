"""Says what memories say about a query in their own sentences: the relevant ones, each once, with all who say it."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from seedcore.schemas.cognitive.memory_synthesis import Statement

MAX_SENTENCE = 500
MAX_SENTENCES = 400
SAME = 0.8
"""Share of words from which two sentences say the same."""
NOVELTY = 0.5
"""Weight of what a sentence repeats against what it says about the query (maximal marginal relevance)."""

_END = re.compile(r"(?<=[.!?])\s+|\n+")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Source:
    """A memory: its id, its text, how well it fits the query (only proportions count) and how salient it is."""

    id: str
    text: str
    score: float
    salience: float = 0.5


@dataclass(slots=True)
class _Sentence:
    text: str
    words: frozenset[str]
    worth: float
    cites: list[str]


def synthesize(query: str, sources: Sequence[Source], most: int) -> list[Statement]:
    """At most `most` sentences of the sources, those that say the most about the query first.

    A sentence's worth is the share of the query's words in it, each weighted by how rare it is, times how well its
    memory fits; sentences that share most of their words are one, which cites all of their memories.
    """
    sentences = _sentences(query, sources)
    chosen: list[_Sentence] = []
    while sentences and len(chosen) < most:
        best = max(sentences, key=lambda s: s.worth - NOVELTY * max((_alike(s, c) for c in chosen), default=0.0))
        chosen.append(best)
        sentences = [sentence for sentence in sentences if sentence is not best]
    return [Statement(text=sentence.text, cites=sentence.cites) for sentence in chosen]


def _sentences(query: str, sources: Sequence[Source]) -> list[_Sentence]:
    asked = _words(query)
    seen = Counter(word for source in sources for word in _words(source.text))
    rare = {word: log(1 + len(sources) / (1 + seen[word])) + 0.1 for word in asked}
    total = sum(rare.values()) or 1.0
    top = max((source.score for source in sources), default=0.0) or 1.0
    found: list[_Sentence] = []
    for source in sources:
        fit = source.score / top * (0.5 + source.salience)
        for text in filter(None, (part.strip() for part in _END.split(source.text))):
            words = _words(text)
            if not words:
                continue
            twin = next((other for other in found if _same(other.words, words)), None)
            worth = fit * (0.2 + sum(rare[word] for word in asked & words) / total)
            if twin is None:
                found.append(_Sentence(text[:MAX_SENTENCE], words, worth, [source.id]))
                if len(found) >= MAX_SENTENCES:
                    return found
            else:
                twin.worth = max(twin.worth, worth)
                if source.id not in twin.cites:
                    twin.cites.append(source.id)
    return found


def _words(text: str) -> frozenset[str]:
    return frozenset(word for word in _WORD.findall(text.lower()) if len(word) > 2 or word.isdigit())


def _alike(one: _Sentence, other: _Sentence) -> float:
    return len(one.words & other.words) / (len(one.words | other.words) or 1)


def _same(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= SAME * len(one | other)
