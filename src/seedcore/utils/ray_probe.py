"""Ask whether a Ray answers at an address, within a deadline and without connecting to it.

`ray.init` itself cannot be asked: where nothing listens, or where the token is wrong, it retries for 20 to 40
seconds whatever the caller's deadline is, and its error does not tell the causes apart.
"""

from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import Any

from seedcore.utils.ray_address import Endpoint


class Answer(StrEnum):
    """What an address answered; `elsewhere` is the caller's word for a GCS whose nodes are all on other hosts."""

    READY = "ready"
    SILENT = "silent"
    STRANGER = "stranger"
    LOCKED = "locked"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer, and the words of whoever gave it."""

    answer: Answer
    detail: str = ""


def probe(endpoint: Endpoint, timeout_s: float, node: str | None = None) -> Verdict:
    """One cheap call to the GCS or to the client server, the way Ray's own clients make it.

    With the id of a `node`, a GCS that does not know it as living is a stranger: a head that was started again at the
    same address knows none of the nodes before it.

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
            known = _ask(channel, endpoint.client, timeout_s, node)
        finally:
            channel.close()
    except AuthenticationError as error:
        return Verdict(Answer.LOCKED, _first_line(str(error)))
    except grpc.RpcError as error:
        return _judge(error.code().name, _first_line(error.details()))
    return Verdict(Answer.READY) if known else Verdict(Answer.STRANGER, f"it knows no living node {node}")


def _ask(channel: Any, client: bool, timeout_s: float, node: str | None) -> bool:
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


def _judge(code: str, detail: str) -> Verdict:
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return Verdict(Answer.LOCKED, detail)
    if code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
        return Verdict(Answer.SILENT, detail)
    return Verdict(Answer.STRANGER, f"{code} {detail}".strip())


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0][:300]


def use_saved_token() -> bool:
    """Turn token authentication on in this process if Ray has a saved token and RAY_AUTH_MODE is not set.

    Ray does this by itself, but only where it chose the address (`auto`): to an explicit address it sends no
    token unless RAY_AUTH_MODE says so. Ray's own function is called, as it also refreshes the core's settings.
    """
    from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available

    return bool(maybe_enable_token_auth_if_token_available(warn_if_disabled=False))
