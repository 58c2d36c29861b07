"""The skill `text.summarize`: the sentences that say most of a text."""

import asyncio
import math
from collections import Counter

from pydantic import BaseModel, Field

from seedcore.skills.builtin import _words
from seedcore.skills.skill_decorator import SkillContext, skill

# Only this many of the best sentences are compared with each other.
CANDIDATES = 200

Vector = dict[str, float]


class SummarizeParams(BaseModel):
    """English text, and how many of its sentences to keep."""

    text: str
    sentences: int = Field(3, ge=1, le=50)


class Summary(BaseModel):
    """Sentences of the text, unchanged and in their order."""

    summary: str


@skill("text.summarize", organ="utility", timeout_s=30)
async def text_summarize(params: SummarizeParams, context: SkillContext) -> Summary:
    """Keep the sentences that say most of an English text."""
    return Summary(summary=await asyncio.to_thread(summarize, params.text, params.sentences))


def summarize(text: str, count: int) -> str:
    """The `count` sentences that have most in common with the others, each unlike those chosen before it.

    Sentences are TF-IDF vectors (a sentence is a document). A sentence's weight is the sum of its cosines with all
    others (degree centrality: Erkan and Radev 2004), less the share that a chosen sentence says already. Equal
    sentences keep their order, so the result is the same every time.
    """
    sentences = _words.sentences(text)
    if len(sentences) <= count:
        return " ".join(sentences)
    vectors = _vectors(sentences)
    total: Vector = {}
    for vector in vectors:
        for word, share in vector.items():
            total[word] = total.get(word, 0.0) + share
    # The vectors are of length one: a sentence's cosine with itself, 1, is taken off.
    weights = [max(0.0, _dot(vector, total) - 1) if vector else 0.0 for vector in vectors]
    left = sorted(range(len(sentences)), key=lambda i: (-weights[i], i))[: max(CANDIDATES, count)]
    chosen: list[int] = []
    nearest = dict.fromkeys(left, 0.0)
    while len(chosen) < count:
        best = max(left, key=lambda i: (round(weights[i] * (1 - nearest[i]), 9), -nearest[i], -i))
        chosen.append(best)
        left.remove(best)
        for i in left:
            nearest[i] = max(nearest[i], _dot(vectors[i], vectors[best]))
    return " ".join(sentences[i] for i in sorted(chosen))


def _vectors(sentences: list[str]) -> list[Vector]:
    counted = [Counter(_words.content_words(sentence)) for sentence in sentences]
    spread = Counter(word for counts in counted for word in counts)
    n = len(sentences)
    return [_unit({w: c * math.log(1 + n / spread[w]) for w, c in counts.items()}) for counts in counted]


def _unit(vector: Vector) -> Vector:
    size = math.sqrt(sum(weight * weight for weight in vector.values()))
    return {word: weight / size for word, weight in vector.items()} if size else {}


def _dot(one: Vector, two: Vector) -> float:
    if len(one) > len(two):
        one, two = two, one
    return sum(weight * two.get(word, 0.0) for word, weight in one.items())
