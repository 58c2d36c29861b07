"""Waits until hosts and workers are warm, so that the first task does not wait."""

import asyncio
import time
from typing import Any

from seedcore.organism.control.host import organ_of_host
from seedcore.settings import Settings
from seedcore.telemetry.logs import get_logger

PAUSE_S = 0.1
WAIT_S = 60.0
"""Longest wait: a skill whose warm-up fails does not hold up other tasks."""


async def bootstrap_warmth(settings: Settings, deadline: float) -> dict[str, Any]:
    """Wait until every host and worker reports that it is warm; returns, and logs, those that are not in time."""
    log = get_logger("bootstraps.warmth")
    began = time.monotonic()
    actors = await asyncio.to_thread(_actors, settings)
    cold: dict[str, Any] = dict.fromkeys(actors, "has not answered")
    until = min(deadline, began + WAIT_S)
    while cold and time.monotonic() < until:
        answers = await asyncio.gather(*[_cold(actors[name], until) for name in cold])
        cold = {name: reason for name, reason in zip(cold, answers, strict=True) if reason}
        await asyncio.sleep(PAUSE_S if cold else 0)
    seconds = round(time.monotonic() - began, 3)
    if cold:
        log.warning("not everything is warm, first tasks may take longer", cold=cold, seconds=seconds)
    else:
        log.info("warm", actors=sorted(actors), seconds=seconds)
    return cold


def _actors(settings: Settings) -> dict[str, Any]:
    import ray
    from ray.util import list_named_actors

    named = [a["name"] for a in list_named_actors(all_namespaces=True) if a["namespace"] == settings.namespace]
    return {n: ray.get_actor(n, namespace=settings.namespace) for n in named if organ_of_host(n)}


async def _cold(actor: Any, until: float) -> Any:
    """What an actor reports as cold; empty when everything is warm."""
    from ray.exceptions import RayError

    try:
        async with asyncio.timeout(max(0.1, until - time.monotonic())):
            return (await actor.status.remote()).get("cold")
    except (RayError, TimeoutError) as error:
        return f"does not answer ({type(error).__name__})"
