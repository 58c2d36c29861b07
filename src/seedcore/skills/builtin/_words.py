"""Splits English text into sentences, phrases and words, for the text skills."""

import re
from functools import lru_cache

APOSTROPHE = "\u2019"
_WORD = re.compile(r"[^\W_]+(?:['\u2019\-][^\W_]+)*")
_PIECE = re.compile(rf"{_WORD.pattern}|[^\s\w]|\n")
# A sentence ends at . ! ? and closing marks, before white space and something that can begin one; or at a blank line.
_SENTENCE_END = re.compile(
    r"(?:(?<=[.!?\u2026])|(?<=[.!?\u2026][\"'\u201d\u2019)\]]))\s+(?=[\"'\u201c\u2018(\[]?[A-Z0-9\u00c0-\u00de])|\n\s*\n"
)
_ABBREVIATION_LIST = """
    mr mrs ms dr prof st vs etc e.g i.e cf fig no al inc ltd jr sr approx
    jan feb mar apr jun jul aug sep sept oct nov dec
"""
_STOP_WORD_LIST = """
    a about above after again against all also am an and any are as at be because been before being below between both
    but by can could did do does doing down during each either etc even ever every few for from further get got had has
    have having he her here hers him his how however i if in into is it its itself just let like made make many may me
    might more most much must my neither no nor not now of off often on once one only or other our out over own per
    quite rather said same say says she should since so some still such than that the their them then there these they
    this those though through thus to too two under until up upon us use used very via was we well were what when where
    whether which while who whom whose why will with within without would yet you your isn't aren't wasn't weren't
    don't doesn't didn't won't can't couldn't shouldn't wouldn't it's that's i'm you're we're they're i've we've
"""
_ABBREVIATIONS = frozenset(_ABBREVIATION_LIST.split())
STOP_WORDS = frozenset(_STOP_WORD_LIST.split())


def content_words(text: str) -> list[str]:
    """The words that carry meaning, lower case."""
    return [word for word in map(_fold, _WORD.findall(text)) if is_content(word)]


@lru_cache(maxsize=50_000)
def is_content(word: str) -> bool:
    """Whether a lower-case word carries meaning: no stop word, no bare number, nothing of one character."""
    return len(word) > 1 and word not in STOP_WORDS and not word.isnumeric()


def phrases(text: str) -> list[tuple[str, ...]]:
    """Runs of content words between stop words, punctuation and line ends."""
    found, run = [], list[str]()
    for piece in _PIECE.findall(text):
        word = _fold(piece)
        if word[0].isalnum() and is_content(word):
            run.append(word)
        elif run:
            found.append(tuple(run))
            run = []
    if run:
        found.append(tuple(run))
    return found


def sentences(text: str) -> list[str]:
    """The sentences, in order, white space made single; blank lines end one too."""
    found, rest = [], ""
    for part in _SENTENCE_END.split(text):
        rest = " ".join(f"{rest} {part}".split())
        if rest and not _ends_in_abbreviation(rest):
            found.append(rest)
            rest = ""
    if rest:
        found.append(rest)
    return found


def _ends_in_abbreviation(text: str) -> bool:
    if not text.endswith("."):
        return False
    last = text.rsplit(None, 1)[-1].rstrip(".").lstrip("(").lower()
    return last in _ABBREVIATIONS or (len(last) == 1 and last.isalpha())


def _fold(word: str) -> str:
    return word.lower().replace(APOSTROPHE, "'")
