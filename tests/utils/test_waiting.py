"""Waiting that an event ends early."""

import asyncio
import time

import pytest

from seedcore.utils.waiting import wait_for_event


async def test_an_event_that_is_set_ends_the_wait_at_once():
    event = asyncio.Event()
    event.set()
    assert await wait_for_event(event, 60)


async def test_an_event_that_comes_ends_the_wait_early():
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, event.set)
    began = time.monotonic()
    assert await wait_for_event(event, 60)
    assert time.monotonic() - began < 30


async def test_the_time_ends_a_wait_without_the_event():
    assert not await wait_for_event(asyncio.Event(), 0.01)


async def test_a_cancellation_is_never_swallowed():
    event = asyncio.Event()
    waiter = asyncio.create_task(wait_for_event(event, None))
    await asyncio.sleep(0)
    event.set()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
