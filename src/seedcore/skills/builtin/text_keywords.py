"""The skill `text.keywords`: the words and phrases that a text is about (RAKE: Rose et al. 2010)."""

import asyncio
from collections import Counter
from collections.abc import Iterator

from pydantic import BaseModel, Field

from seedcore.skills.builtin import _words
from seedcore.skills.skill_decorator import SkillContext, skill

MAX_PHRASE_WORDS = 4
Phrase = tuple[str, ...]


class KeywordsParams(BaseModel):
    """English text, and the largest number of keywords to return."""

    text: str
    limit: int = Field(10, ge=1, le=100)


class Keywords(BaseModel):
    """Keywords, the best first; `scores[i]` belongs to `keywords[i]`."""

    keywords: list[str]
    scores: list[float]


@skill("text.keywords", organ="utility", timeout_s=30)
async def text_keywords(params: KeywordsParams, context: SkillContext) -> Keywords:
    """Find the keywords of an English text."""
    ranked = await asyncio.to_thread(rank, params.text, params.limit)
    return Keywords(keywords=[phrase for phrase, _ in ranked], scores=[score for _, score in ranked])


def rank(text: str, limit: int) -> list[tuple[str, float]]:
    """The best phrases with their scores, ties in alphabetical order.

    A word's score is its degree (the words of the phrases that it stands in) over its frequency, as RAKE has it; a
    phrase's is the sum over its words times how often it occurs, within longer phrases too. A phrase that never
    occurs outside a better one is left out.
    """
    found = _words.phrases(text)
    frequency: Counter[str] = Counter()
    degree: Counter[str] = Counter()
    times: Counter[Phrase] = Counter()
    for phrase in found:
        for word in phrase:
            frequency[word] += 1
            degree[word] += min(len(phrase), MAX_PHRASE_WORDS)
        times.update(_parts(phrase))
    whole = set(found)
    scored = [
        (round(sum(degree[w] / frequency[w] for w in phrase) * count, 6), phrase)
        for phrase, count in times.items()
        if phrase in whole or count > 1
    ]
    scored.sort(key=lambda item: (-item[0], item[1]))
    best: list[tuple[str, float]] = []
    covered: dict[Phrase, int] = {}
    for score, phrase in scored:
        if len(best) == limit:
            break
        if covered.get(phrase, 0) < times[phrase]:
            best.append((" ".join(phrase), score))
            for part in _parts(phrase):
                covered[part] = max(covered.get(part, 0), times[phrase])
    return best


def _parts(phrase: Phrase) -> Iterator[Phrase]:
    """The runs of at most MAX_PHRASE_WORDS words within a phrase."""
    for start in range(len(phrase)):
        for end in range(start + 1, min(start + MAX_PHRASE_WORDS, len(phrase)) + 1):
            yield phrase[start:end]
