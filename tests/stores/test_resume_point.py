"""Positions of readers among transactions that commit in any order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.errors import EventIdAheadError, InvalidInputError
from seedcore.stores.resume_point import Snapshot


@pytest.mark.parametrize("text", ["3:3:", "10:14:10,12", "744:744:", "9:9223372036854775807:9"])
def test_a_snapshot_is_its_text(text: str):
    assert str(Snapshot.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "1:2",
        "a:b:",
        "1:2:3;drop",
        "1:2:,",
        "1:9223372036854775808:",
        "1:2:3\n",
        "0:2:",
        "3:2:",
        "3:9:5,4",
        "3:9:2",
        "3:9:9",
    ],
)
def test_anything_else_is_refused_and_named(text: str):
    with pytest.raises(InvalidInputError) as caught:
        Snapshot.parse(text)
    assert caught.value.errors[0].field == "Last-Event-ID"


@given(st.sets(st.integers(3, 60), max_size=20), st.integers(3, 60))
def test_it_lacks_what_came_later_and_what_was_under_way(running: set[int], xmax: int):
    running = {number for number in running if number < xmax}
    snapshot = Snapshot.parse(f"{min(running, default=xmax)}:{xmax}:{','.join(map(str, sorted(running)))}")
    transactions = np.arange(1, 80)
    lacks = {int(number) for number in transactions[snapshot.lacks(transactions)]}
    assert lacks == {n for n in range(1, 80) if n >= xmax or n in running}


@pytest.mark.parametrize("text", ["1:9223372036854775808:", f"3:{'9' * 20}:"])
def test_numbers_beyond_any_database_are_ahead_of_it(text: str):
    with pytest.raises(EventIdAheadError):
        Snapshot.parse(text)
