"""The Ray connection layer: the only place that calls `ray.init`, and it only ever connects.

Call `ensure_ray_initialized()` where Ray is first needed. It may be called again, from several threads, and
inside Ray's own processes. `docs/decisions/0001-ray-connection.md` tells why it is the way it is.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from seedcore.errors import RayConnectionError, SeedCoreError, SettingsError
from seedcore.settings import Settings, get_settings
from seedcore.telemetry.logs import get_logger
from seedcore.utils import ray_address as addresses
from seedcore.utils.ray_address import Endpoint, Resolution, detect_role, resolve_address
from seedcore.utils.ray_probe import Answer, Verdict, probe, use_saved_token
from seedcore.utils.ray_record import forget_ray_address, record_ray_address, recorded_ray_address

__all__ = [
    "Connection",
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
_MENDS = {
    Answer.READY: "",
    Answer.SILENT: "nothing answers there ({}); start that Ray, correct the address, "
    "or raise SEEDCORE_RAY_CONNECT_TIMEOUT_S",
    Answer.STRANGER: "what answers there is something else ({}); `ray://` takes the port of the client server "
    "(10001), a bare HOST:PORT that of the GCS (6379 or 6380)",
    Answer.LOCKED: "it refuses ({}); set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH "
    "to the cluster's token",
    Answer.ELSEWHERE: "it answers, but no node of that cluster runs on this host; use ray://HOST:10001, "
    "or run this on one of its nodes",
}
# One lock for every way in and out: `ray.init` and `ray.shutdown` are not safe against each other.
_lock = threading.RLock()


@dataclass(frozen=True, slots=True)
class Connection:
    """The Ray that this process is connected to.

    Attributes:
        mode: a driver on a node of the cluster, a Ray worker (actor, task, replica), or a `ray://` client.
        endpoint: what this process itself talks to: the GCS, in a client the client server.
    """

    mode: Literal["driver", "worker", "client"]
    endpoint: Endpoint

    def gcs(self) -> Endpoint:
        """GCS address of the cluster; a client has to ask the server for it."""
        import ray

        return addresses.parse_address(ray.get_runtime_context().gcs_address)


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
    """Which Ray `ensure_ray_initialized` would connect to from here, and why; connects to nothing.

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
    """Connect this process to Ray, unless it is connected; never start a Ray, nor let Ray start one by itself.

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
    with _lock:
        _forbid_accidental_cluster()
        connection = current_connection()
        if connection is not None:
            _refuse_another(connection, ray_address)
            return True
        chosen = choose_ray(ray_address, settings=settings)
        if chosen.address is None:
            get_logger(__name__).info("not connected to Ray", reason=chosen.reason)
            return False
        endpoint = addresses.parse_address(chosen.address)
        _wait_until_usable(endpoint, chosen, settings.ray_connect_timeout_s if timeout_s is None else timeout_s)
        _connect(endpoint, ray_namespace or get_ray_namespace(settings))
        get_logger(__name__).info("connected to Ray", address=chosen.address, source=chosen.source)
        return True


def wait_for_ray(deadline: float, *, settings: Settings | None = None) -> None:
    """Connect as `ensure_ray_initialized` does, also to a Ray that is only starting; `deadline` as `time.monotonic()`.

    Where nothing names an address, it waits for the Ray of this data directory, and leaves those of others alone.

    Raises:
        RayConnectionError: no Ray in time, or one that it would be in vain to wait for.
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
    """The Ray to connect to; None while it is worth waiting for one."""
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
            return probe(connection.endpoint, _PROBE_S).answer is Answer.READY
        chosen = choose_ray(settings=settings)
        if chosen.address is None:
            return False
        timeout_s = min(_PROBE_S, settings.ray_connect_timeout_s)
        return _examine(addresses.parse_address(chosen.address), timeout_s).answer is Answer.READY
    except SeedCoreError as error:
        get_logger(__name__).debug("Ray is not available", reason=error.detail)
        return False


def get_ray_cluster_info(*, settings: Settings | None = None) -> dict[str, Any]:
    """Facts about the connected cluster, in plain JSON types.

    `connected` is False, and `detail` says why, when there is no connection or the cluster does not answer.
    """
    namespace = get_ray_namespace(settings)
    connection = current_connection()
    if connection is None:
        return {"connected": False, "namespace": namespace, "detail": "this process is not connected to a Ray"}
    info: dict[str, Any] = {"address": str(connection.endpoint), "mode": connection.mode, "namespace": namespace}
    verdict = probe(connection.endpoint, _PROBE_S)
    if verdict.answer is not Answer.READY:
        return {**info, "connected": False, "detail": f"{connection.endpoint} is {verdict.answer}: {verdict.detail}"}

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
    """Disconnect this process; safe to call again, and a process that called `ray.init` itself ends its own Ray.

    Inside a Ray worker it does nothing: the connection there is Ray's, and without it the worker would die.
    """
    with _lock:
        connection = current_connection()
        if connection is None:
            return
        if connection.mode == "worker":
            get_logger(__name__).warning("not disconnected: this is a Ray worker, its connection belongs to Ray")
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


def current_connection() -> Connection | None:
    """The Ray that this process is connected to, whoever connected it; None without importing Ray if none is."""
    if "ray" not in sys.modules:
        return None
    import ray

    if not ray.is_initialized():
        return None
    target = _client_target()
    if target is not None:
        return Connection("client", addresses.parse_address(f"ray://{target}"))
    gcs = addresses.parse_address(ray.get_runtime_context().gcs_address)
    return Connection("worker" if _inside_ray_worker() else "driver", gcs)


def _forbid_accidental_cluster() -> None:
    """Take from Ray its habit of starting a cluster when `ray.get_actor` and the like find no connection.

    The variable is read when Ray is imported; where that has happened, only the private switch still works.
    """
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    if "ray" in sys.modules:
        from ray._private import auto_init_hook

        auto_init_hook.enable_auto_connect = False


def _client_target() -> str | None:
    """HOST:PORT of the client server; Ray keeps it in an attribute that is not public, and tells it nowhere else."""
    from ray.util.client import ray as client

    return str(client.get_context().client_worker._conn_str) if client.is_connected() else None


def _inside_ray_worker() -> bool:
    """Ray tells the mode of a process only in its private state; the constants to compare with are public."""
    import ray
    from ray._private.worker import global_worker

    return bool(global_worker.mode == ray.WORKER_MODE)


def _refuse_another(connection: Connection, asked: str | None) -> None:
    """An existing connection serves whoever names no address, and whoever names its own; nobody else."""
    if not asked or asked.strip() in ("", "auto"):
        return
    wanted = addresses.parse_address(asked.strip())
    mine = connection.endpoint if wanted.client else connection.gcs()
    if addresses.same_endpoint(wanted, mine):
        return
    mend = "call it without an address" if connection.mode == "worker" else "call shutdown_ray() first"
    raise RayConnectionError(
        f"This process is already connected to the Ray at {connection.endpoint} as a {connection.mode}, "
        f"and cannot connect to {wanted} as well: {mend}"
    )


def _wait_until_usable(endpoint: Endpoint, chosen: Resolution, timeout_s: float) -> None:
    """Wait for a Ray that is still starting; raise when that takes too long, or at once when waiting is in vain."""
    deadline = time.monotonic() + timeout_s
    while True:
        left = deadline - time.monotonic()
        verdict = _examine(endpoint, max(_PAUSE_S, min(_PROBE_S, left)))
        if verdict.answer is Answer.READY:
            return
        problem = f"Cannot connect to the Ray at {endpoint} ({chosen.reason})"
        if verdict.answer in (Answer.LOCKED, Answer.STRANGER):
            raise RayConnectionError(f"{problem}: {verdict.detail}")
        if time.monotonic() + _PAUSE_S >= deadline:
            raise RayConnectionError(f"{problem} within {timeout_s:g} s: {verdict.detail}")
        time.sleep(_PAUSE_S)


def _examine(endpoint: Endpoint, timeout_s: float) -> Verdict:
    """Probe, and judge what only this host can know: whether it is a node of that cluster, and has its token."""
    verdict = probe(endpoint, timeout_s)
    # A saved token is sent only to a cluster of this host, as Ray does: never to an address that was just named.
    if verdict.answer is Answer.LOCKED and _is_node_of(endpoint) and use_saved_token():
        verdict = probe(endpoint, timeout_s)
    if verdict.answer is Answer.READY and not endpoint.client and not _is_node_of(endpoint):
        verdict = Verdict(Answer.ELSEWHERE)
    return Verdict(verdict.answer, _MENDS[verdict.answer].format(verdict.detail or "no reason given"))


def _is_node_of(endpoint: Endpoint) -> bool:
    return not endpoint.client and any(
        addresses.same_endpoint(addresses.parse_address(ray.address), endpoint) for ray in addresses.find_local_rays()
    )


def _connect(endpoint: Endpoint, namespace: str) -> None:
    import ray

    if endpoint.client:
        # Through a client server, replicas often say later than Serve's 0.1 s how much they have in hand. Serve cancels
        # what it waits for, Ray's client answers it all the same and logs a traceback. Serve reads this when imported.
        os.environ.setdefault(_QUEUE_LENGTH_DEADLINE, "10")
    before = signal.getsignal(signal.SIGTERM)
    # A client whose server has died is not connected any more, but still blocks a new connection.
    ray.shutdown()
    try:
        # The address is always explicit: without one, or with `local`, ray.init would start a second cluster.
        ray.init(str(endpoint), namespace=namespace, log_to_driver=False, logging_level=logging.WARNING)
    except Exception as error:
        # Half a connection would make the next call believe that it is connected.
        ray.shutdown()
        raise RayConnectionError(f"The Ray at {endpoint} refused the connection: {_explain(error)}") from error
    finally:
        _give_back_sigterm(before)


def _give_back_sigterm(before: Any) -> None:
    """`ray.init` takes SIGTERM for itself; a handler that was there decides how this process stops."""
    taken = before not in (signal.SIG_DFL, None)
    if taken and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _explain(error: Exception) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    text = f"{lines[0]} {lines[-1]}" if len(lines) > 1 else "".join(lines)
    if "Starting Ray client server failed" in text:
        text += " (gRPC may have crashed while the head forked: start the head with GRPC_ENABLE_FORK_SUPPORT=0)"
    return text or type(error).__name__
