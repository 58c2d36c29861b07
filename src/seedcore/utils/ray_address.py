"""Which Ray this process means: pure rules over explicit inputs, and the one look at the host's processes.

The order is: argument, RAY_ADDRESS (in a client also RAY_HOST and RAY_PORT), the recorded address, the only
live Ray on this host. Nothing here imports Ray: a process that finds none does not pay for it.
"""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import psutil

from seedcore.errors import FieldError, RayConnectionError, SettingsError
from seedcore.settings import Settings, default_data_dir

Role = Literal["head", "worker", "client"]
Source = Literal["argument", "RAY_ADDRESS", "RAY_HOST and RAY_PORT", "recorded address", "only local Ray", "none"]

START_A_RAY = "start one with `make run`, `serve run serve_config/dev.yaml` or `ray start --head`"
_KUBERAY_HEAD_GROUP = "headgroup"
_FORMS = "`ray://HOST:10001` (client server), `HOST:6380` (GCS, from a host of the cluster) or `auto`"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a Ray answers: its client server (`ray://`), or its GCS."""

    host: str
    port: int
    client: bool

    @property
    def target(self) -> str:
        """`host:port`, with an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"ray://{self.target}" if self.client else self.target


@dataclass(frozen=True, slots=True)
class LocalRay:
    """A Ray node that runs on this host.

    Attributes:
        address: GCS address of its cluster.
        pid: process id of the raylet.
        started: when that process started, seconds since the epoch.
        head: whether it is its cluster's head node.
    """

    address: str
    pid: int
    started: float
    head: bool


@dataclass(frozen=True, slots=True)
class Resolution:
    """What to pass to `ray.init`, and why. `address` is None when there simply is no Ray."""

    address: str | None
    source: Source
    reason: str


def parse_address(text: str) -> Endpoint:
    """Read `ray://HOST:PORT` or `HOST:PORT`.

    Raises:
        RayConnectionError: it is neither.
    """
    client = text.startswith("ray://")
    try:
        parts = urlsplit(text if client else f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port or parts.path or parts.query or "@" in parts.netloc:
        raise RayConnectionError(f"{text!r} is not the address of a Ray; allowed are {_FORMS}")
    return Endpoint(host, port, client)


def same_endpoint(one: Endpoint, other: Endpoint) -> bool:
    """Whether both name the same port of the same host; every name of this host counts as one."""
    if one.client != other.client or one.port != other.port:
        return False
    return one.host == other.host or bool(_addresses(one.host) & _addresses(other.host))


def _addresses(host: str) -> set[str]:
    """The host's IP addresses; all of this machine's when it is this machine. Without DNS, the name itself."""
    try:
        found = {str(item[4][0]) for item in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return {host}
    own = {a.address for items in psutil.net_if_addrs().values() for a in items}
    return found | own if found & own else found


def detect_role(settings: Settings, live: Sequence[LocalRay]) -> Role:
    """Head, worker or client: as SEEDCORE_ROLE says, else by what KubeRay set, else by what runs here."""
    if settings.role is not None:
        return settings.role
    if settings.ray_node_group is not None:
        return "head" if settings.ray_node_group == _KUBERAY_HEAD_GROUP else "worker"
    if (settings.ray_address or "").startswith("ray://") or not live:
        return "client"
    return "head" if any(ray.head for ray in live) else "worker"


def resolve_address(
    argument: str | None,
    settings: Settings,
    *,
    role: Role,
    recorded: str | None,
    live: Sequence[LocalRay],
) -> Resolution:
    """Choose the Ray to connect to. A pure function of what it is given.

    Args:
        argument: what the caller asked for, if anything.
        settings: RAY_ADDRESS, RAY_HOST, RAY_PORT and SEEDCORE_ROLE.
        role: this process's role towards Ray.
        recorded: the recorded address, already found to be alive.
        live: the Ray nodes that run on this host.

    Raises:
        RayConnectionError: the choice is malformed, not allowed here, or not unique.
        SettingsError: RAY_PORT is needed and is not a port.
    """
    if named := (argument or "").strip():
        return _named(named, "argument", recorded, live)
    if named := (settings.ray_address or "").strip():
        if named.startswith("ray://") and role != "client":
            raise RayConnectionError(
                f"RAY_ADDRESS={named} is a client's address, but this is a {role}: unset RAY_ADDRESS here "
                "(a head may use `auto`), or set SEEDCORE_ROLE=client"
            )
        return _named(named, "RAY_ADDRESS", recorded, live)
    if role == "client" and settings.ray_host:
        return Resolution(_client_url(settings), "RAY_HOST and RAY_PORT", "derived for a client")
    return _on_this_host(recorded, live)


def _named(named: str, source: Source, recorded: str | None, live: Sequence[LocalRay]) -> Resolution:
    if named == "local":
        raise RayConnectionError(f"SeedCore never starts a Ray by itself, so `local` is not allowed: {START_A_RAY}")
    if named != "auto":
        return Resolution(str(parse_address(named)), source, f"named by {source}")
    chosen = _on_this_host(recorded, live)
    if chosen.address is None:
        raise RayConnectionError(f"{source} is `auto`, but no Ray runs on this host: {START_A_RAY}")
    return chosen


def _on_this_host(recorded: str | None, live: Sequence[LocalRay]) -> Resolution:
    if recorded is not None:
        return Resolution(
            recorded, "recorded address", "recorded in the data directory by the SeedCore that started it"
        )
    addresses = sorted({ray.address for ray in live})
    if len(addresses) > 1:
        raise RayConnectionError(
            f"{len(addresses)} Rays run on this host ({', '.join(addresses)}) and nothing says which is meant: "
            "set RAY_ADDRESS to one of them"
        )
    if addresses:
        return Resolution(addresses[0], "only local Ray", "the only Ray that runs on this host")
    return Resolution(None, "none", f"no Ray runs on this host and RAY_ADDRESS is not set: {START_A_RAY}")


def _client_url(settings: Settings) -> str:
    """KubeRay gives RAY_PORT another meaning (the GCS port) in its own pods: this is for clients alone."""
    port = settings.ray_port.strip()
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        message = f"{port!r} is not allowed: in a client it is the port of the Ray client server, 1 to 65535"
        raise SettingsError(f"RAY_PORT={message}", errors=[FieldError("RAY_PORT", message)])
    return str(Endpoint(settings.ray_host or "", int(port), client=True))


def find_local_rays() -> list[LocalRay]:
    """The Ray nodes of this user that run on this host (root sees everybody's).

    Ray has no public call for this; like its own `auto`, it reads the command lines of the raylets. Another
    user's Ray is left out: this process's code would run there as that user.
    """
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] != "raylet":
            continue
        try:
            if os.geteuid() not in (0, process.uids().real):
                continue
            arguments = process.cmdline()
            address = next((a.partition("=")[2] for a in arguments if a.startswith("--gcs-address=")), "")
            if address:
                found.append(LocalRay(address, process.pid, process.create_time(), "--head" in arguments))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def uses_data_dir(ray: LocalRay, data_dir: Path) -> bool:
    """Whether SeedCore's processes in that Ray use this data directory: they have its raylet's environment."""
    try:
        theirs = psutil.Process(ray.pid).environ().get("SEEDCORE_DATA_DIR")
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    return (Path(theirs).expanduser().absolute() if theirs else default_data_dir()) == data_dir
