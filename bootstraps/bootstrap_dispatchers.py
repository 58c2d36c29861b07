"""Starts the desired number of dispatchers and the reaper, and waits until each makes progress."""

import asyncio
import time
from typing import Any

from seedcore.errors import UnavailableError
from seedcore.settings import Settings
from seedcore.tasks.model import DEFAULT_QUEUE, GRAPH_QUEUE
from seedcore.telemetry.logs import get_logger
from seedcore.worker.actors.ray_actors import REAPER, DispatcherActor, ReaperActor, dispatcher_name

PAUSE_S = 0.1
GRACE_S = 10.0


async def bootstrap_dispatchers(settings: Settings, deadline: float) -> None:
    """Start what is missing and end what is surplus; repeating it changes nothing.

    Raises:
        UnavailableError: an actor makes no progress in time.
    """
    wanted = {
        dispatcher_name(queue, n): queue
        for queue, count in ((DEFAULT_QUEUE, settings.dispatchers), (GRAPH_QUEUE, settings.graph_dispatchers))
        for n in range(count)
    }
    actors = await asyncio.to_thread(_ensure, settings, wanted)
    await asyncio.to_thread(_end_surplus, settings, set(wanted))
    await asyncio.gather(*[_progress(name, actor, deadline) for name, actor in actors.items()])
    get_logger("bootstraps.dispatchers").info("dispatchers work", dispatchers=sorted(wanted), reaper=REAPER)


def _ensure(settings: Settings, wanted: dict[str, str]) -> dict[str, Any]:
    import ray

    shared = {
        "namespace": settings.namespace,
        "lifetime": "detached",
        "get_if_exists": True,
        "max_restarts": -1,
        # Status must answer while stop waits.
        "max_concurrency": 4,
        "num_cpus": 0,
    }
    actors: dict[str, Any] = {
        name: ray.remote(DispatcherActor).options(name=name, **shared).remote(name, queue)
        for name, queue in wanted.items()
    }
    actors[REAPER] = ray.remote(ReaperActor).options(name=REAPER, **shared).remote()
    return actors


def _end_surplus(settings: Settings, wanted: set[str]) -> None:
    """End the dispatchers of an earlier, larger setting: they finish, release their leases, and end."""
    import ray
    from ray.util import list_named_actors

    named = [a["name"] for a in list_named_actors(all_namespaces=True) if a["namespace"] == settings.namespace]
    prefixes = (dispatcher_name(DEFAULT_QUEUE, 0)[:-1], dispatcher_name(GRAPH_QUEUE, 0)[:-1])
    for name in named:
        if name.startswith(prefixes) and name not in wanted:
            actor = ray.get_actor(name, namespace=settings.namespace)
            ray.get(actor.stop.remote(GRACE_S), timeout=GRACE_S + 20)
            ray.kill(actor, no_restart=True)


async def _progress(name: str, actor: Any, deadline: float) -> None:
    """Wait until the actor has claimed or reaped: only progress shows health, an answer does not."""
    last: Any = "no answer"
    while time.monotonic() < deadline:
        try:
            last = await asyncio.wait_for(actor.status.remote(), max(0.1, deadline - time.monotonic()))
        except TimeoutError:
            break
        if last.get("last_claim_s") is not None or last.get("last_look_s") is not None:
            return
        await asyncio.sleep(PAUSE_S)
    raise UnavailableError(f"{name} makes no progress: {last}")
