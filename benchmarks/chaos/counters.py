"""Stale writes as the workers' dispatchers count them, read from their status.

No public path shows these counts, so they are read from the actors: in a process of its own, which joins the system's
Ray as a driver. A dispatcher that is killed takes with it what it counted since the last look: a lower bound.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

PERIOD_S, LOOK_S = 0.5, 3.0


def total_stale(samples: Iterable[Mapping[str, Mapping[str, Any]]]) -> int | None:
    """Sum of what each dispatcher counted over its lives; None when no status told a count.

    A sample holds the statuses by dispatcher. `sessions` and the like only grow within one life, so a count that is
    lower than before begins a new one.
    """
    last: dict[str, Mapping[str, Any]] = {}
    total: int | None = None
    for sample in samples:
        for name, status in sample.items():
            if "stale" not in status:
                continue
            before = last.get(name, {})
            restarted = any(status.get(key, 0) < before.get(key, 0) for key in ("stale", "sessions", "completed"))
            total = (total or 0) + status["stale"] - (0 if restarted else before.get("stale", 0))
            last[name] = status
    return total


class Counters:
    """Follows the dispatchers of one system from a child process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._samples: list[dict[str, Any]] = []
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Counters":
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.chaos.counters"),
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=2**20,
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        # The end of its input tells it to end.
        self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 10)
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        assert self._reader is not None
        await self._reader

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line.startswith(b"{"):
                self._samples.append(json.loads(line))

    def stale(self) -> int | None:
        """Stale writes refused so far, at least; None: the dispatchers did not tell."""
        return total_stale(self._samples)


def main() -> None:
    """Print the statuses of all dispatchers, a JSON object a line, until standard input ends."""
    import select

    import ray
    from ray.util import list_named_actors

    from seedcore.utils.ray_utils import ensure_ray_initialized, get_ray_namespace

    if not ensure_ray_initialized():
        raise SystemExit("there is no Ray here")
    namespace = get_ray_namespace()
    actors: dict[str, Any] = {}
    asked: dict[str, Any] = {}
    looked = 0.0
    while not select.select([sys.stdin], [], [], PERIOD_S)[0]:
        if time.monotonic() - looked > LOOK_S:
            # Workers that are replaced come back under other names, or as other actors.
            looked = time.monotonic()
            found = {a["name"] for a in list_named_actors(all_namespaces=True) if a["namespace"] == namespace}
            for name in found - actors.keys():
                with contextlib.suppress(ValueError):
                    actors |= {name: ray.get_actor(name, namespace=namespace)} if "dispatcher" in name else {}
        # One question at a time: a dispatcher that stands still would otherwise find them all when it goes on.
        asked |= {name: actor.status.remote() for name, actor in actors.items() if name not in asked}
        ready, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=PERIOD_S) if asked else ([], [])
        sample = {}
        for name in [name for name, reference in asked.items() if reference in ready]:
            try:
                sample[name] = ray.get(asked[name])
            except ray.exceptions.RayError:
                del actors[name]
            del asked[name]
        print(json.dumps({name: _numbers(status) for name, status in sample.items()}), flush=True)


def _numbers(status: Mapping[str, Any]) -> dict[str, int]:
    return {key: status[key] for key in ("stale", "sessions", "completed") if key in status}


if __name__ == "__main__":
    main()
