"""A process is warm when each of its steps has worked once; until then it says which has not, and why."""

import asyncio

from seedcore.utils import warming
from seedcore.utils.warming import Warming


async def test_a_step_is_tried_until_it_works_and_keeps_no_other_from_it(monkeypatch):
    monkeypatch.setattr(warming, "FIRST_PAUSE_S", 0.001)
    tries, seen = 0, []

    async def flaky() -> None:
        nonlocal tries
        tries += 1
        seen.append(dict(made.cold))
        if tries < 3:
            raise ConnectionError("not there yet")

    async def quick() -> None:
        return

    made = Warming({"flaky": flaky, "quick": quick})
    assert made.cold == {"flaky": "not done yet", "quick": "not done yet"}
    async with asyncio.timeout(10):
        await made.run()
    assert tries == 3
    assert seen[-1] == {"flaky": "ConnectionError: not there yet"}
    assert made.cold == {}


async def test_nothing_to_do_is_warm_at_once():
    made = Warming({})
    await made.run()
    assert made.cold == {}
