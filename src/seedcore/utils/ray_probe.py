"""Probes whether a Ray answers at an address, within a deadline and without connecting to it.

`ray.init` itself does not tell: where nothing listens, or where the token is wrong, it retries for 20 to 40
seconds whatever the caller's deadline is, and its error does not distinguish the causes.
"""

from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module

from seedcore.utils import ray_address
from seedcore.utils.ray_address import Endpoint


class ProbeStatus(StrEnum):
    """What an address answered; `examine` alone finds that every node of a GCS is on another host."""

    READY = "ready"
    UNREACHABLE = "unreachable"
    MISMATCH = "not the expected Ray"
    UNAUTHORIZED = "refusing access"
    NOT_LOCAL = "on other hosts only"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A status, and the reason that came with it."""

    status: ProbeStatus
    detail: str = ""


_FIXES = {
    ProbeStatus.READY: "",
    ProbeStatus.UNREACHABLE: "nothing answers there ({}); start that Ray, correct the address, "
    "or raise SEEDCORE_RAY_CONNECT_TIMEOUT_S",
    ProbeStatus.MISMATCH: "what answers there is something else ({}); `ray://` takes the port of the client server "
    "(10001), a bare HOST:PORT that of the GCS (6379 or 6380)",
    ProbeStatus.UNAUTHORIZED: "it refuses ({}); set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH "
    "to the cluster's token",
    ProbeStatus.NOT_LOCAL: "it answers, but no node of that cluster runs on this host; use ray://HOST:10001, "
    "or run this on one of its nodes",
}


def probe(endpoint: Endpoint, timeout_s: float, node: str | None = None) -> ProbeResult:
    """One cheap call to the GCS or to the client server, the way Ray's own clients make it.

    With the id of a `node`, a GCS that does not know it as living is a mismatch: a head restarted at the same address
    knows none of the nodes before it.

    Ray has no public call for this (`ray health-check` has no deadline), so its channel factory, which knows TLS
    and tokens, and its generated stubs are used here and nowhere else.
    """
    import grpc
    from ray._private.grpc_utils import init_grpc_channel
    from ray.exceptions import AuthenticationError

    # Ray's own GCS client never goes through an HTTP proxy; the Ray client follows gRPC's defaults.
    options = [] if endpoint.client else [("grpc.enable_http_proxy", 0)]
    try:
        channel = init_grpc_channel(endpoint.target, options=options)
        try:
            known = _ping(channel, endpoint.client, timeout_s, node)
        finally:
            channel.close()
    except AuthenticationError as error:
        return ProbeResult(ProbeStatus.UNAUTHORIZED, _first_line(str(error)))
    except grpc.RpcError as error:
        return _result_of(error.code().name, _first_line(error.details()))
    return (
        ProbeResult(ProbeStatus.READY)
        if known
        else ProbeResult(ProbeStatus.MISMATCH, f"it knows no living node {node}")
    )


def _ping(channel: object, client: bool, timeout_s: float, node: str | None) -> bool:
    """PING of the client server, or CheckAlive of the GCS; both are what Ray itself asks first. False: no such node."""
    generated = "ray.core.generated"
    if client:
        messages = import_module(f"{generated}.ray_client_pb2")
        stub = import_module(f"{generated}.ray_client_pb2_grpc").RayletDriverStub(channel)
        stub.ClusterInfo(messages.ClusterInfoRequest(type=messages.ClusterInfoType.PING), timeout=timeout_s)
        return True
    messages = import_module(f"{generated}.gcs_service_pb2")
    stub = import_module(f"{generated}.gcs_service_pb2_grpc").NodeInfoGcsServiceStub(channel)
    ids = [] if node is None else [bytes.fromhex(node)]
    return all(stub.CheckAlive(messages.CheckAliveRequest(node_ids=ids), timeout=timeout_s).raylet_alive)


def _result_of(code: str, detail: str) -> ProbeResult:
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return ProbeResult(ProbeStatus.UNAUTHORIZED, detail)
    if code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
        return ProbeResult(ProbeStatus.UNREACHABLE, detail)
    return ProbeResult(ProbeStatus.MISMATCH, f"{code} {detail}".strip())


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0][:300]


def examine(endpoint: Endpoint, timeout_s: float) -> ProbeResult:
    """Probe, and add what only this host knows: whether it is a node of that cluster, and has its token."""
    result = probe(endpoint, timeout_s)
    # A saved token is sent only to a cluster of this host, as Ray does: never to an address that was just named.
    if result.status is ProbeStatus.UNAUTHORIZED and _is_node_of(endpoint) and _use_saved_token():
        result = probe(endpoint, timeout_s)
    if result.status is ProbeStatus.READY and not endpoint.client and not _is_node_of(endpoint):
        result = ProbeResult(ProbeStatus.NOT_LOCAL)
    return ProbeResult(result.status, _FIXES[result.status].format(result.detail or "no reason given"))


def _is_node_of(endpoint: Endpoint) -> bool:
    local = [] if endpoint.client else ray_address.find_local_rays()
    return any(ray_address.same_endpoint(ray_address.parse_address(ray.address), endpoint) for ray in local)


def _use_saved_token() -> bool:
    """Turn token authentication on in this process if Ray has a saved token and RAY_AUTH_MODE is not set.

    Ray does this by itself, but only where it chose the address (`auto`): to an explicit address it sends no
    token unless RAY_AUTH_MODE says so. Ray's own function is called, as it also refreshes the core's settings.
    """
    from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available

    return bool(maybe_enable_token_auth_if_token_available(warn_if_disabled=False))
