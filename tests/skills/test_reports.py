"""How far a skill says that it is: finite, bounded, storable, and an error that says so."""

from decimal import Decimal
from typing import Any

import pytest

from seedcore.skills.context import SkillContext
from seedcore.skills.reports import MAX_NOTE, SkillProgress


class Sink:
    def __init__(self) -> None:
        self.got: list[tuple[str, int, SkillProgress]] = []

    def report(self, task_id: str, token: int, progress: SkillProgress) -> None:
        self.got.append((task_id, token, progress))


ODD = [float("nan"), float("inf"), -1, 10**400, "5", None, b"1", []]


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def context(sink: Sink) -> SkillContext:
    return SkillContext("t", 1, 5, "k", None, sink=sink)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((3, 10), {"done": 3, "total": 10}),
        ((0, None), {"done": 0, "total": None}),
        ((0.5, 1.0, "half"), {"done": 0.5, "total": 1, "note": "half"}),
        ((12, 10, ""), {"done": 12, "total": 10, "note": ""}),
        ((Decimal("1.5"), 2, "x" * MAX_NOTE), {"done": 1.5, "total": 2, "note": "x" * MAX_NOTE}),
    ],
)
async def test_progress_goes_out_with_its_task_and_token(context: SkillContext, sink: Sink, given: Any, told: Any):
    await context.progress(*given)
    context.report_progress(*given)
    assert sink.got == [("t", 5, told)] * 2


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -1, 10**400, "5", None, b"1", [], pytest.param(-(10**5000), id="5000 digits")]
)
async def test_what_is_no_number_is_refused(context: SkillContext, sink: Sink, value: Any):
    with pytest.raises(ValueError, match="progress: done must be a finite number that is not negative"):
        await context.progress(value, 10)
    if value is not None:
        with pytest.raises(ValueError, match="progress: total must be a finite number that is not negative"):
            context.report_progress(1, value)
    assert sink.got == []


async def test_a_total_of_nothing_is_refused(context: SkillContext):
    with pytest.raises(ValueError, match="progress: total must be greater than 0"):
        await context.progress(0, 0)


@pytest.mark.parametrize("note", ["x" * (MAX_NOTE + 1), 5, "a\0b", "\ud800"])
async def test_a_note_that_cannot_be_kept_is_refused(context: SkillContext, note: Any):
    with pytest.raises(ValueError, match="progress: note must be text"):
        await context.progress(1, 2, note)


async def test_without_a_host_progress_is_checked_all_the_same():
    alone = SkillContext("t", 1, 1, "k", None)
    await alone.progress(1, 2, "ok")
    with pytest.raises(ValueError, match="progress"):
        await alone.progress(-1, 2)
