"""Records the address of the Ray that a SeedCore started, in its data directory, for later processes."""

import contextlib
import functools
import json
import os
import socket
import time
from pathlib import Path
from typing import TypedDict

import psutil

from seedcore.errors import RayConnectionError
from seedcore.settings import Settings
from seedcore.telemetry.logs import get_logger
from seedcore.utils import ray_address
from seedcore.utils.ray_connection import current_connection

_CONNECT_TIMEOUT_S = 1.0
# A process's start time is read from the kernel's clock ticks; the same process may differ in the last digits.
_SAME_START_S = 1.0


class _Entry(TypedDict):
    """The file's content: the address, the raylet's process, when that started, and when this was written."""

    address: str
    pid: int
    started: float
    time: float


def record_path(settings: Settings) -> Path:
    """The file that holds the address."""
    return settings.data_dir / "run" / "ray_address"


def record_ray_address(settings: Settings, address: str | None = None) -> Path:
    """Record which Ray this data directory belongs to, in one atomic step.

    Args:
        settings: names the data directory.
        address: GCS address of a Ray that runs on this host; None: the one this process is connected to.

    Raises:
        RayConnectionError: there is no such Ray on this host.
    """
    wanted = ray_address.parse_address(address or _connected_address())
    for ray in ray_address.find_local_rays():
        if ray_address.same_endpoint(ray_address.parse_address(ray.address), wanted):
            break
    else:
        raise RayConnectionError(f"No Ray with the address {wanted} runs on this host, so it is not recorded")
    entry: _Entry = {"address": ray.address, "pid": ray.pid, "started": ray.started, "time": time.time()}
    path = record_path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(entry) + "\n")
    draft.replace(path)
    return path


def recorded_ray_address(settings: Settings) -> str | None:
    """The recorded address, if that same Ray still runs and answers; a stale entry is logged and ignored."""
    path = record_path(settings)
    try:
        entry = json.loads(path.read_text())
        address, stale = str(entry["address"]), _why_stale(entry)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RayConnectionError) as error:
        address, stale = "", f"unreadable: {error}"
    if stale is None:
        return address
    _warn_once(str(path), address, stale)
    return None


@functools.cache
def _warn_once(path: str, address: str, reason: str) -> None:
    """A process that waits for its Ray reads the record often; one line is enough."""
    get_logger(__name__).warning("recorded Ray address ignored", path=path, address=address, reason=reason)


def forget_ray_address(settings: Settings) -> None:
    """Remove the entry, if there is one, when the Ray that it names stops in an orderly way."""
    record_path(settings).unlink(missing_ok=True)


def _connected_address() -> str:
    connection = current_connection()
    if connection is None:
        raise RayConnectionError("This process is not connected to a Ray, so there is no address to record")
    return str(connection.gcs())


def _why_stale(entry: _Entry) -> str | None:
    """None for a live Ray. The process is checked too: another Ray may have taken the same port since."""
    endpoint = ray_address.parse_address(str(entry["address"]))
    with contextlib.suppress(psutil.NoSuchProcess):
        started = psutil.Process(int(entry["pid"])).create_time()
        if abs(started - float(entry["started"])) <= _SAME_START_S:
            return _why_silent(endpoint)
    return f"its Ray (process {entry['pid']}) has ended"


def _why_silent(endpoint: ray_address.Endpoint) -> str | None:
    try:
        socket.create_connection((endpoint.host, endpoint.port), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        return f"nothing answers there: {error}"
    return None
