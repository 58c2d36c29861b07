import pytest

from seedcore.errors import InvalidInputError
from seedcore.memory.long_term.items import NewMemory, checked_items, digest_of
from seedcore.memory.long_term.memory_limits import MAX_ITEMS


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"text": ""}, "text"),
        ({"text": " \n"}, "text"),
        ({"text": "a\0b"}, "text"),
        ({"text": "a\ud800"}, "text"),
        ({"text": "a" * 8193}, "text"),
        ({"scope": "everything"}, "scope"),
        ({"scope": "agent:"}, "scope"),
        ({"scope": "agent:\ud800"}, "scope"),
        ({"tags": ["a"] * 17}, "tags"),
        ({"tags": [""]}, "tags"),
        ({"salience": 1.01}, "salience"),
        ({"salience": float("nan")}, "salience"),
        ({"metadata": {"a": float("inf")}}, "metadata"),
        ({"metadata": {"a": "\0"}}, "metadata"),
        ({"metadata": {"a": "\ud800"}}, "metadata"),
        ({"metadata": {"a": "b" * 20_000}}, "metadata"),
        ({"metadata": {"a": 10**400}}, "metadata"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_its_name(fields: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        checked_items([NewMemory(**{"text": "a", **fields})])  # type: ignore[arg-type]
    assert refused.value.errors[0].field == f"items.0.{field}"


def test_more_than_a_batch_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        checked_items([NewMemory("a")] * (MAX_ITEMS + 1))


def test_case_and_spaces_make_no_other_text() -> None:
    assert digest_of(" The\tlamp \n is ON") == digest_of("the lamp is on")
    assert digest_of("the lamp is on") != digest_of("the lamp is off")
