"""Ray Serve's own router (power of two choices) on the live comparison's fleet; writes the response times as JSON.

Run by `live`, in a process and a Ray of its own.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("RAY_AUTH_MODE", "disabled")

import ray
from ray import serve

from benchmarks.routing.fleet import AGENTS, MEANS, arrivals


@ray.remote(num_cpus=0)
class Numbers:
    """Hands out 0, 1, 2, … to the replicas."""

    def __init__(self) -> None:
        self._next = -1

    def take(self) -> int:
        self._next += 1
        return self._next


@serve.deployment(num_replicas=AGENTS, max_ongoing_requests=10_000, ray_actor_options={"num_cpus": 0})
class Agent:
    """One of the fleet: one task after the other."""

    def __init__(self, numbers: ray.actor.ActorHandle) -> None:
        self._means = MEANS[ray.get(numbers.take.remote()) % AGENTS]
        self._lock = asyncio.Lock()

    async def __call__(self, kind: int, luck: float) -> None:
        async with self._lock:
            await asyncio.sleep(self._means[kind] * luck)


async def drive(handle: serve.handle.DeploymentHandle, rate: float, seconds: float) -> list[float]:
    """Open loop; the response time of each."""
    began = time.perf_counter()

    async def one(due: float, kind: int, luck: float) -> float:
        await handle.remote(kind, luck)
        return time.perf_counter() - began - due

    running = []
    for due, kind, luck in arrivals(rate, seconds):
        await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
        running.append(asyncio.create_task(one(due, kind, luck)))
    return list(await asyncio.gather(*running))


def main() -> None:
    rate, seconds, answer = float(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    # A Ray of its own, whatever else runs here; its folder is beside the answer.
    ray.init("local", num_cpus=2, include_dashboard=False, _temp_dir=str(answer.parent), log_to_driver=False)
    serve.start(proxy_location="Disabled")
    handle = serve.run(Agent.bind(Numbers.remote()), route_prefix=None)
    print("every replica is there", flush=True)
    answer.write_text(json.dumps(asyncio.run(drive(handle, rate, seconds))))
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
