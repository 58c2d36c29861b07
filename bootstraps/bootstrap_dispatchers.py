"""Says how many workers there are to be, starts the reaper, and waits until each makes progress."""

import asyncio
import time
from typing import Any

from bootstraps.bootstrap_organism import PAUSE_S, call_organism
from seedcore.errors import UnavailableError
from seedcore.service_clients.organism_client import OrganismClient
from seedcore.settings import Settings
from seedcore.telemetry.logs import get_logger
from seedcore.worker.actors.ray_actors import REAPER, ReaperActor

STATUS_S = 5.0
"""Longest wait for one answer of an actor; those of the others wait with it."""


async def bootstrap_dispatchers(settings: Settings, deadline: float) -> None:
    """Have the Organism keep the workers that the settings ask for; repeating it changes nothing.

    Raises:
        UnavailableError: there are too few workers in time, or one makes no progress.
    """
    client = OrganismClient(settings, timeout_s=30)
    try:
        reaper = await asyncio.to_thread(_ensure_reaper, settings)
        numbers = (settings.dispatchers, settings.graph_dispatchers, settings.workers_per_node)
        await call_organism(lambda: client.put_workers(*numbers), deadline)
        names, _ = await asyncio.gather(_workers(settings, client, deadline), _progress(REAPER, reaper, deadline))
    finally:
        await client.aclose()
    get_logger("bootstraps.dispatchers").info("workers work", workers=names, reaper=REAPER)


async def _workers(settings: Settings, client: OrganismClient, deadline: float) -> list[str]:
    """Wait until as many workers as there are to be make progress; returns their names."""
    working: set[str] = set()
    while True:
        status = await call_organism(client.status, deadline)
        pools = status["workers"].values()
        new = [name for pool in pools for name in pool["names"] if name not in working]
        asked = await asyncio.gather(*[asyncio.to_thread(_actor, settings, name) for name in new])
        answers = await asyncio.gather(*[_status(actor) for actor in asked])
        working |= {name for name, answer in zip(new, answers, strict=True) if answer.get("last_claim_s") is not None}
        if all(len(working.intersection(pool["names"])) >= pool["desired"] for pool in pools):
            return sorted(working)
        if time.monotonic() > deadline:
            found = {queue: f"{pool['alive']}/{pool['desired']}" for queue, pool in status["workers"].items()}
            raise UnavailableError(f"Too few workers make progress: alive {found}, last answers {answers}")
        await asyncio.sleep(PAUSE_S)


def _ensure_reaper(settings: Settings) -> Any:
    import ray

    options = {
        "name": REAPER,
        "namespace": settings.namespace,
        "lifetime": "detached",
        "get_if_exists": True,
        "max_restarts": -1,
        "max_concurrency": 4,
        "num_cpus": 0,
    }
    return ray.remote(ReaperActor).options(**options).remote()


def _actor(settings: Settings, name: str) -> Any:
    """The actor of a worker; None when it has just ended."""
    import ray

    try:
        return ray.get_actor(name, namespace=settings.namespace)
    except ValueError:
        return None


async def _status(actor: Any) -> dict[str, Any]:
    """What an actor says of itself; `reason` when it says nothing."""
    from ray.exceptions import RayError

    if actor is None:
        return {"reason": "it has ended"}
    try:
        async with asyncio.timeout(STATUS_S):
            return dict(await actor.status.remote())
    except (RayError, TimeoutError) as error:
        return {"reason": f"{type(error).__name__}: {error}"[:200]}


async def _progress(name: str, actor: Any, deadline: float) -> None:
    """Wait until the reaper has reaped: only progress shows health, an answer does not."""
    last: dict[str, Any] = {}
    while time.monotonic() < deadline:
        last = await _status(actor)
        if last.get("last_look_s") is not None:
            return
        await asyncio.sleep(PAUSE_S)
    raise UnavailableError(f"{name} makes no progress: {last}")
