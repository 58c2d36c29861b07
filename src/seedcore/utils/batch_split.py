"""Finds the item that a batch is refused for, and lets the others through."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


async def split_refused(
    items: Sequence[Item],
    act: Callable[[Sequence[Item]], Awaitable[object]],
    is_refusal: Callable[[Exception], bool],
    refused: Callable[[Item, Exception], object],
) -> None:
    """Do `act` for all items at once, and for smaller and smaller parts where that is refused.

    An item that is refused when it stands alone is handed to `refused`. One of n costs about 2 log2(n) calls.

    Args:
        items: what to act on; nothing is done when there are none.
        act: acts on a part, all or nothing.
        is_refusal: whether an error is about what the items hold; any other is raised at once.
        refused: takes each item that is refused on its own, and why.
    """
    if not items:
        return
    try:
        await act(items)
    except Exception as error:
        if not is_refusal(error):
            raise
        if len(items) == 1:
            refused(items[0], error)
            return
        half = len(items) // 2
        for part in (items[:half], items[half:]):
            await split_refused(part, act, is_refusal, refused)
