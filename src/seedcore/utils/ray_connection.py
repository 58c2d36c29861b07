"""The Ray that this process is connected to, whoever connected it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from seedcore.errors import RayConnectionError
from seedcore.telemetry.metrics import counter
from seedcore.utils.ray_address import Endpoint, parse_address, same_endpoint


@dataclass(frozen=True, slots=True)
class RayConnection:
    """The Ray that this process is connected to.

    Attributes:
        mode: a driver on a node of the cluster, a Ray worker (actor, task, replica), or a `ray://` client.
        endpoint: what this process itself talks to: the GCS, in a client the client server.
    """

    mode: Literal["driver", "worker", "client"]
    endpoint: Endpoint

    def gcs(self) -> Endpoint:
        """GCS address of the cluster; a client asks the server for it."""
        import ray

        return parse_address(ray.get_runtime_context().gcs_address)


@contextmanager
def count_connections() -> Iterator[Callable[[], None]]:
    """Counts a connection that fails inside; what it gives counts one that was made."""
    connections = counter("seedcore_ray_connections_total")
    try:
        yield lambda: connections.add(1, outcome="made")
    except RayConnectionError:
        connections.add(1, outcome="failed")
        raise


def current_connection() -> RayConnection | None:
    """The connection of this process, whoever made it; None, without importing Ray, when there is none."""
    if "ray" not in sys.modules:
        return None
    import ray

    if not ray.is_initialized():
        return None
    target = _client_target()
    if target is not None:
        return RayConnection("client", parse_address(f"ray://{target}"))
    gcs = parse_address(ray.get_runtime_context().gcs_address)
    return RayConnection("worker" if _inside_ray_worker() else "driver", gcs)


def _client_target() -> str | None:
    """HOST:PORT of the client server; Ray keeps it in a private attribute, and nowhere else."""
    from ray.util.client import ray as client

    return str(client.get_context().client_worker._conn_str) if client.is_connected() else None


def _inside_ray_worker() -> bool:
    """Ray keeps the mode of a process in its private state; the constants to compare with are public."""
    import ray
    from ray._private.worker import global_worker

    return bool(global_worker.mode == ray.WORKER_MODE)


def refuse_other_ray(connection: RayConnection, address: str | None) -> None:
    """Accept an existing connection for a caller that names no address, or its own.

    Raises:
        RayConnectionError: the caller names another Ray.
    """
    if not address or address.strip() in ("", "auto"):
        return
    wanted = parse_address(address.strip())
    mine = connection.endpoint if wanted.client else connection.gcs()
    if same_endpoint(wanted, mine):
        return
    fix = "call it without an address" if connection.mode == "worker" else "call shutdown_ray() first"
    raise RayConnectionError(
        f"This process is already connected to the Ray at {connection.endpoint} as a {connection.mode}, "
        f"and cannot connect to {wanted} as well: {fix}"
    )
