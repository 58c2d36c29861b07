import pytest

from seedcore.skills.builtin._words import phrases, sentences
from seedcore.skills.builtin.text_keywords import rank
from seedcore.skills.registry import SkillRegistry

TEXT = """Ray Serve is a scalable model serving library. Model serving with Ray Serve needs no other system:
a model serving library that is built on Ray scales with the cluster. Ray Serve batches requests."""


def test_the_best_phrases_come_first_and_stop_words_never():
    found = [phrase for phrase, _ in rank(TEXT, 5)]
    assert found[:3] == ["model serving library", "model serving", "ray serve"]
    assert not {"is", "with", "the"} & {word for phrase in found for word in phrase.split()}


def test_scores_fall_and_the_result_is_the_same_every_time():
    one = rank(TEXT, 50)
    assert [s for _, s in one] == sorted((s for _, s in one), reverse=True)
    assert one == rank(TEXT, 50)
    assert rank(TEXT, 2) == one[:2]


@pytest.mark.parametrize("text", ["", "the of and", "!!! ... 42 7", "   \n"])
def test_a_text_without_content_has_no_keywords(text: str):
    assert rank(text, 5) == []


def test_phrases_end_at_stop_words_marks_and_lines():
    assert phrases("deep learning of cats, dogs\nbirds isn\u2019t state-of-the-art") == [
        ("deep", "learning"),
        ("cats",),
        ("dogs",),
        ("birds",),
        ("state-of-the-art",),
    ]


def test_sentences_survive_abbreviations_numbers_and_blank_lines():
    text = 'Dr. Smith paid 3.5 dollars, e.g. Tuesday. "Really?" asked J. Doe. Yes!\n\na heading\n\nLast one'
    assert sentences(text) == [
        "Dr. Smith paid 3.5 dollars, e.g. Tuesday.",
        '"Really?" asked J. Doe.',
        "Yes!",
        "a heading",
        "Last one",
    ]


async def test_the_skill_gives_keywords_and_scores_place_by_place(settings):
    spec = SkillRegistry.load(settings).find("text.keywords")
    result = await spec.function(spec.params(text=TEXT, limit=3), None)
    assert len(result.keywords) == len(result.scores) == 3
