"""One refused item costs none of the others, wherever in the batch it stands and however many there are."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.utils.batch_split import split_refused


@given(st.sets(st.integers(0, 63)), st.integers(0, 64))
async def test_all_but_the_refused_ones_get_through_once(bad: set[int], size: int):
    accepted: list[int] = []
    refused: list[int] = []

    async def act(part: Sequence[int]) -> None:
        if bad.intersection(part):
            raise ValueError("no")
        accepted.extend(part)

    await split_refused(range(size), act, lambda _: True, lambda item, _: refused.append(item))
    assert accepted == [n for n in range(size) if n not in bad]
    assert refused == [n for n in range(size) if n in bad]


async def test_one_of_a_thousand_is_found_with_few_calls():
    calls: list[int] = []

    async def act(part: Sequence[int]) -> None:
        calls.append(len(part))
        if 617 in part:
            raise ValueError("no")

    await split_refused(range(1000), act, lambda _: True, lambda *_: None)
    assert len(calls) < 25


async def test_what_is_no_refusal_is_raised_at_once():
    calls: list[int] = []

    async def act(part: Sequence[int]) -> None:
        calls.append(len(part))
        raise ConnectionError("away")

    with pytest.raises(ConnectionError):
        await split_refused(range(9), act, lambda error: isinstance(error, ValueError), lambda *_: None)
    assert calls == [9]
