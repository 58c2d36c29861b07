"""The labelled queries over the documentation."""

from collections import Counter

from benchmarks.memory.labelled_queries import read_queries, read_sections


def test_every_answer_is_a_section_of_the_documentation() -> None:
    sections = {(section.file, section.heading) for section in read_sections()}
    missing = {answer for query in read_queries() for answer in query.answers if answer not in sections}
    assert not missing


def test_half_of_the_200_queries_use_other_words_than_the_text() -> None:
    queries = read_queries()
    assert Counter(query.wording for query in queries) == {"text": 100, "own": 100}
    assert len({query.query for query in queries}) == 200
    assert all(query.answers for query in queries)
