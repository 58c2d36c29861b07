import time

from seedcore.skills.builtin.text_summarize import summarize
from seedcore.skills.registry import SkillRegistry

TEXT = """Solar power turns sunlight into electricity with panels. The weather was pleasant on Monday.
Panels on roofs let homes make electricity from sunlight. Somebody sneezed. Cheap solar panels make electricity from
sunlight affordable for most homes. A dog barked twice. Storing solar electricity in batteries helps homes at night."""


def test_a_summary_is_sentences_of_the_text_in_their_order():
    found = summarize(TEXT, 3)
    from seedcore.skills.builtin._words import sentences

    places = [sentences(TEXT).index(s) for s in sentences(found)]
    assert len(places) == 3
    assert places == sorted(places)


def test_what_is_beside_the_point_is_left_out():
    found = summarize(TEXT, 3)
    assert "sneezed" not in found
    assert "dog" not in found
    assert "weather" not in found


def test_a_sentence_is_not_chosen_twice_in_other_words():
    text = "Cats chase mice at night. Mice at night: cats chase! Dogs guard houses against thieves."
    assert "Dogs guard" in summarize(text, 2)


def test_a_short_text_is_its_own_summary():
    assert summarize("One  thing.\nAnother thing.", 3) == "One thing. Another thing."
    assert summarize("", 3) == ""


def test_the_result_is_the_same_every_time_and_large_texts_end_soon():
    text = " ".join(f"Sentence {i} speaks of topic{i % 50} and topic{i % 7} and subject{i}." for i in range(8000))
    begun = time.monotonic()
    one = summarize(text, 20)
    assert time.monotonic() - begun < 10
    assert one == summarize(text, 20)


async def test_the_skill_answers_with_a_summary(settings):
    spec = SkillRegistry.load(settings).find("text.summarize")
    result = await spec.function(spec.params(text=TEXT, sentences=1), None)
    assert result.summary in " ".join(TEXT.split())
