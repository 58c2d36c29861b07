"""An error that takes a cancellation's place does not keep a task alive."""

import asyncio

import pytest

from seedcore.utils.background_loop import stay_cancelled


async def endless(cancelled: asyncio.Event) -> None:
    while True:
        try:
            try:
                await asyncio.sleep(60)
            finally:
                cancelled.set()
                raise OSError("the connection is gone")
        except OSError as error:
            stay_cancelled(error)


async def test_a_cancelled_task_ends_whatever_goes_wrong_meanwhile():
    cancelled = asyncio.Event()
    task = asyncio.create_task(endless(cancelled))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    assert cancelled.is_set()


async def test_an_error_of_a_task_that_nobody_cancels_changes_nothing():
    stay_cancelled(OSError("away"))
