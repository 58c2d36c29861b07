"""Waiting that an event ends early: the one way that loops pause between their rounds."""

import asyncio


async def wait_for_event(event: asyncio.Event, timeout_s: float | None) -> bool:
    """Wait until `event` is set, at most `timeout_s` (None: without end); returns whether it is set.

    Not `asyncio.wait_for`: on Python 3.11 a cancellation that arrives together with the event is lost there.
    """
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True
