from hypothesis import given
from hypothesis import strategies as st

from seedcore.cognitive.engines.offline.synthesis import Source, synthesize

SOURCES = [
    Source("a", "The pump failed on Monday. Tea was served.", 0.03),
    Source("b", "The pump failed on Monday! A valve was closed by hand.", 0.02),
    Source("c", "Nothing to see here.", 0.01),
]


def test_what_is_asked_for_comes_first_and_cites_all_who_say_it():
    first, *others = synthesize("why did the pump fail on Monday", SOURCES, 3)
    assert (first.text, first.cites) == ("The pump failed on Monday.", ["a", "b"])
    assert len(others) == 2


def test_without_memories_nothing_is_said():
    assert synthesize("anything", [], 5) == []


texts = st.text(max_size=60)


@given(
    texts, st.lists(st.builds(Source, st.sampled_from("abcdef"), texts, st.floats(0, 1), st.floats(0, 1)), max_size=8)
)
def test_every_statement_is_a_memorys_own_sentence_and_cites_it(query: str, found: list[Source]):
    said = synthesize(query, found, 4)
    assert len(said) <= 4
    for statement in said:
        assert statement.cites
        assert any(statement.text in source.text for source in found if source.id in statement.cites)
