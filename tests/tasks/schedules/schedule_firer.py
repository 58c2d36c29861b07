"""A process that fires schedules: for some seconds, or until it has submitted and is about to move the next tick on."""

import asyncio
import json
import sys
import time
from typing import Any

import asyncpg

from seedcore.tasks.schedules import firing


async def fire_for(dsn: str, seconds: float) -> int:
    connection = await asyncpg.connect(dsn)
    fired = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        fired += (await firing.fire(connection)).fired
        await asyncio.sleep(0.01)
    await connection.close()
    return fired


async def stop_before_the_move(*_arguments: Any) -> None:
    print("submitted", flush=True)
    await asyncio.sleep(600)


if __name__ == "__main__":
    dsn, what = sys.argv[1:]
    if what == "submitted":
        firing._move = stop_before_the_move
        what = "600"
    print(json.dumps({"fired": asyncio.run(fire_for(dsn, float(what)))}))
