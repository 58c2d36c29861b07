"""Finds the `serve run` that started this process's Ray, and stops dispatchers before that Ray ends."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from seedcore.settings import Settings
from seedcore.telemetry.logs import get_logger

STOP_GRACE_S = 2.0
_DISPATCHER = re.compile(r"seedcore-(\w+-)?dispatcher-\d+")


def raylet_above() -> psutil.Process | None:
    """The raylet that this process is a worker of."""
    return next((process for process in psutil.Process().parents() if process.name() == "raylet"), None)


def serve_run_above() -> psutil.Process | None:
    """The `serve run` that started this worker's Ray; None when something else did, and the Ray outlives it."""
    raylet = raylet_above()
    starter = raylet.parent() if raylet is not None else None
    return starter if starter is not None and is_serve_run(starter.cmdline()) else None


def is_serve_run(command: Sequence[str]) -> bool:
    """Whether a command line is that of `serve run`."""
    return any(Path(program).name == "serve" and word == "run" for program, word in pairwise(command))


def ends_now() -> bool:
    """Whether this worker's Ray is about to end: `serve run` started it, and is deleting every application."""
    from ray import serve

    if serve_run_above() is None:
        return False
    applications = serve.status().applications.values()
    return all(application.status == "DELETING" for application in applications)


def stop_dispatchers(settings: Settings) -> None:
    """Let every dispatcher finish what ends soon and release the rest, so that no task waits for an expired lease."""
    import ray
    from ray.util import list_named_actors

    named = list_named_actors(all_namespaces=True)
    names = [a["name"] for a in named if a["namespace"] == settings.namespace and _DISPATCHER.fullmatch(a["name"])]
    stops: list[Any] = [ray.get_actor(name, namespace=settings.namespace).stop.remote(STOP_GRACE_S) for name in names]
    done, late = ray.wait(stops, num_returns=len(stops), timeout=2 * STOP_GRACE_S) if stops else ([], [])
    get_logger("seedcore.cli").info("dispatchers stopped", stopped=len(done), late=len(late))
