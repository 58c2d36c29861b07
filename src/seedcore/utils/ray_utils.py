"""Connects this process to Ray: the only place that calls `ray.init`, and it never starts a Ray.

Call `ensure_ray_initialized()` where Ray is first needed. It may be called again, from several threads, and
inside Ray's own processes. `docs/decisions/0001-ray-connection.md` has the reasons.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

from seedcore.errors import RayConnectionError, SeedCoreError, SettingsError
from seedcore.settings import Settings, get_settings
from seedcore.telemetry.logs import get_logger
from seedcore.utils import ray_address as addresses
from seedcore.utils.ray_address import Endpoint, Resolution, detect_role, resolve_address
from seedcore.utils.ray_connection import RayConnection, count_connections, current_connection, refuse_other_ray
from seedcore.utils.ray_probe import ProbeStatus, examine, probe
from seedcore.utils.ray_record import forget_ray_address, record_ray_address, recorded_ray_address

__all__ = [
    "RayConnection",
    "Resolution",
    "choose_ray",
    "current_connection",
    "detect_role",
    "ensure_ray_initialized",
    "forget_ray_address",
    "get_ray_cluster_info",
    "get_ray_namespace",
    "is_ray_available",
    "record_ray_address",
    "recorded_ray_address",
    "resolve_address",
    "shutdown_ray",
    "wait_for_ray",
]

_PROBE_S = 3.0
_PAUSE_S = 0.25
_QUEUE_LENGTH_DEADLINE = "RAY_SERVE_QUEUE_LENGTH_RESPONSE_DEADLINE_S"
# One lock for every way in and out: `ray.init` and `ray.shutdown` are not safe against each other.
_lock = threading.RLock()


def get_ray_namespace(settings: Settings | None = None) -> str:
    """Namespace of SeedCore's actors: SEEDCORE_NS, RAY_NAMESPACE, then `seedcore-dev`.

    Pass it to every lookup of an actor: inside a Serve replica the current namespace is Serve's.
    """
    return (settings or get_settings()).namespace


def choose_ray(
    ray_address: str | None = None,
    *,
    settings: Settings | None = None,
    live: Sequence[addresses.LocalRay] | None = None,
) -> Resolution:
    """Which Ray `ensure_ray_initialized` would connect to, and why; does not connect.

    Args:
        ray_address: as `ensure_ray_initialized`.
        settings: None: those of this process.
        live: the Rays of this host to choose from; None: all.

    Raises:
        RayConnectionError: the choice is malformed, not allowed in this role, or not unique.
    """
    settings = settings or get_settings()
    live = addresses.find_local_rays() if live is None else live
    role = detect_role(settings, live)
    named = ray_address or settings.ray_address or "auto"
    recorded = recorded_ray_address(settings) if named.strip() == "auto" else None
    return resolve_address(ray_address, settings, role=role, recorded=recorded, live=live)


def ensure_ray_initialized(
    ray_address: str | None = None,
    ray_namespace: str | None = None,
    *,
    settings: Settings | None = None,
    timeout_s: float | None = None,
) -> bool:
    """Connect this process to Ray unless it is connected; never start a Ray, nor let Ray start one by itself.

    Args:
        ray_address: `ray://HOST:PORT`, `HOST:PORT` or `auto`; None: RAY_ADDRESS (in a client also RAY_HOST and
            RAY_PORT), then the address recorded in the data directory, then the only live Ray on this host.
        ray_namespace: namespace of a new connection; None: `get_ray_namespace()`. An existing one keeps its own.
        settings: None: those of this process.
        timeout_s: longest wait for a Ray that does not answer yet; None: SEEDCORE_RAY_CONNECT_TIMEOUT_S.

    Returns:
        True when connected, now or already; False only when no address was given and no Ray runs on this host.

    Raises:
        RayConnectionError: the Ray that was named does not answer in time or refuses, several run on this host and
            none was named, or this process is connected to another one.
    """
    settings = settings or get_settings()
    with _lock, count_connections() as made:
        _forbid_accidental_cluster()
        connection = current_connection()
        if connection is not None:
            refuse_other_ray(connection, ray_address)
            return True
        chosen = choose_ray(ray_address, settings=settings)
        if chosen.address is None:
            get_logger(__name__).info("not connected to Ray", reason=chosen.reason)
            return False
        endpoint = addresses.parse_address(chosen.address)
        _wait_until_usable(endpoint, chosen, settings.ray_connect_timeout_s if timeout_s is None else timeout_s)
        _connect(endpoint, ray_namespace or get_ray_namespace(settings))
        made()
        get_logger(__name__).info("connected to Ray", address=chosen.address, source=chosen.source)
        return True


def wait_for_ray(deadline: float, *, settings: Settings | None = None) -> None:
    """Connect as `ensure_ray_initialized` does, also to a Ray that is only starting; `deadline` as `time.monotonic()`.

    Where nothing names an address, it waits for the Ray of this data directory, and leaves those of others alone.

    Raises:
        RayConnectionError: no Ray in time, or waiting cannot help.
    """
    settings = settings or get_settings()
    while current_connection() is None:
        chosen = _choose_own(settings, waiting=time.monotonic() < deadline)
        if chosen is not None:
            ensure_ray_initialized(
                chosen.address, settings=settings, timeout_s=max(_PAUSE_S, deadline - time.monotonic())
            )
            return
        time.sleep(_PAUSE_S)


def _choose_own(settings: Settings, *, waiting: bool) -> Resolution | None:
    """The Ray to connect to; None while waiting may help."""
    named = (settings.ray_address or "auto").strip()
    live = [ray for ray in addresses.find_local_rays() if addresses.uses_data_dir(ray, settings.data_dir)]
    try:
        chosen = choose_ray(settings=settings, live=live)
    except RayConnectionError:
        # `auto` finds none yet, or several of which the record will name one.
        if waiting and named == "auto":
            return None
        raise
    if chosen.address is not None:
        return chosen
    if waiting:
        return None
    raise RayConnectionError(f"No Ray came up in time: {chosen.reason}")


def is_ray_available(*, settings: Settings | None = None) -> bool:
    """Whether a Ray answers now: the connected one, or the one that would be chosen. Never raises or connects."""
    try:
        settings = settings or get_settings()
        connection = current_connection()
        if connection is not None:
            return probe(connection.endpoint, _PROBE_S).status is ProbeStatus.READY
        chosen = choose_ray(settings=settings)
        if chosen.address is None:
            return False
        timeout_s = min(_PROBE_S, settings.ray_connect_timeout_s)
        return examine(addresses.parse_address(chosen.address), timeout_s).status is ProbeStatus.READY
    except SeedCoreError as error:
        get_logger(__name__).debug("Ray is not available", reason=error.detail)
        return False


def get_ray_cluster_info(*, settings: Settings | None = None) -> dict[str, object]:
    """Facts about the connected cluster, in plain JSON types.

    `connected` is False, and `detail` says why, when there is no connection or the cluster does not answer.
    """
    namespace = get_ray_namespace(settings)
    connection = current_connection()
    if connection is None:
        return {"connected": False, "namespace": namespace, "detail": "this process is not connected to a Ray"}
    info: dict[str, object] = {"address": str(connection.endpoint), "mode": connection.mode, "namespace": namespace}
    result = probe(connection.endpoint, _PROBE_S)
    if result.status is not ProbeStatus.READY:
        return {**info, "connected": False, "detail": f"{connection.endpoint} is {result.status}: {result.detail}"}

    import ray

    alive = [bool(node["Alive"]) for node in ray.nodes()]
    return {
        **info,
        "connected": True,
        "ray_version": ray.__version__,
        "nodes": {"alive": alive.count(True), "dead": alive.count(False)},
        "resources": ray.cluster_resources(),
        "available_resources": ray.available_resources(),
    }


def shutdown_ray() -> None:
    """Disconnect this process; safe to call again. A process that called `ray.init` itself ends its own Ray.

    Inside a Ray worker it does nothing: the connection there is Ray's, and without it the worker would die.
    """
    with _lock:
        connection = current_connection()
        if connection is None:
            return
        if connection.mode == "worker":
            get_logger(__name__).warning("not disconnected, the connection of a Ray worker belongs to Ray")
            return
        import ray

        ray.shutdown()


def refuse_embedded_on_many_nodes(settings: Settings) -> None:
    """Embedded stores belong to one machine: on a cluster every node would quietly start its own.

    Raises:
        SettingsError: SEEDCORE_PG_DSN is unset and this process's Ray has more than one node.
    """
    import ray

    if settings.pg_dsn is not None or not ray.is_initialized():
        return
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) > 1:
        raise SettingsError(
            f"This Ray has {len(nodes)} nodes, and the embedded PostgreSQL serves one: set SEEDCORE_PG_DSN to a server "
            "that every node reaches."
        )


def _forbid_accidental_cluster() -> None:
    """Keep Ray from starting a cluster when `ray.get_actor` and the like find no connection.

    The variable is read when Ray is imported; where that has happened, only the private switch still works.
    """
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    if "ray" in sys.modules:
        from ray._private import auto_init_hook

        auto_init_hook.enable_auto_connect = False


def _wait_until_usable(endpoint: Endpoint, chosen: Resolution, timeout_s: float) -> None:
    """Wait for a Ray that is still starting; raise when that takes too long, or at once when waiting cannot help."""
    deadline = time.monotonic() + timeout_s
    while True:
        left = deadline - time.monotonic()
        result = examine(endpoint, max(_PAUSE_S, min(_PROBE_S, left)))
        if result.status is ProbeStatus.READY:
            return
        problem = f"Cannot connect to the Ray at {endpoint} ({chosen.reason})"
        if result.status in (ProbeStatus.UNAUTHORIZED, ProbeStatus.MISMATCH):
            raise RayConnectionError(f"{problem}: {result.detail}")
        if time.monotonic() + _PAUSE_S >= deadline:
            raise RayConnectionError(f"{problem} within {timeout_s:g} s: {result.detail}")
        time.sleep(_PAUSE_S)


def _connect(endpoint: Endpoint, namespace: str) -> None:
    import ray

    if endpoint.client:
        # Through a client server, replicas often say later than Serve's 0.1 s how much they are running. Serve cancels
        # what it waits for, Ray's client answers it all the same and logs a traceback. Serve reads this when imported.
        os.environ.setdefault(_QUEUE_LENGTH_DEADLINE, "10")
    before = signal.getsignal(signal.SIGTERM)
    # A client whose server has died is not connected any more, but still blocks a new connection.
    ray.shutdown()
    try:
        # The address is always explicit: without one, or with `local`, ray.init would start a second cluster.
        ray.init(str(endpoint), namespace=namespace, log_to_driver=False, logging_level=logging.WARNING)
    except Exception as error:
        # Half a connection would look like a connection to the next call.
        ray.shutdown()
        raise RayConnectionError(f"The Ray at {endpoint} refused the connection: {_explain(error)}") from error
    finally:
        # `ray.init` replaces the handler of SIGTERM; the one that was there decides how this process stops.
        if before not in (signal.SIG_DFL, None) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _explain(error: Exception) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    text = f"{lines[0]} {lines[-1]}" if len(lines) > 1 else "".join(lines)
    if "Starting Ray client server failed" in text:
        text += " (gRPC may have crashed while the head forked: start the head with GRPC_ENABLE_FORK_SUPPORT=0)"
    return text or type(error).__name__
