"""Builds the environment of the launcher's processes: a Ray of their own that clashes with no other."""

import contextlib
import hashlib
import os
import secrets
import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from seedcore.cli.launch.free_ports import free_block
from seedcore.cli.launch.ray_start import bounds, pauses
from seedcore.errors import SettingsError
from seedcore.settings import Settings
from seedcore.utils.exposure import make_private, ray_token_path

SOCKET_PATH_LIMIT = 107
LONGEST_SOCKET = len("/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
# Serve puts its node id between folder and name, and HAProxy takes no more than 97 characters: hence the short names.
HAPROXY_FOLDER, HAPROXY_ADMIN, HAPROXY_METRICS = "h", "a", "m"
# Ours to decide: inherited values would send the children to another Ray.
OVERRIDDEN = ("RAY_HOST", "RAY_PORT", "RAY_SERVE_URL", "RAY_DASHBOARD_ADDRESS", "RAY_DASHBOARD_URL", "SEEDCORE_ROLE")
PORT_BLOCK = 100
PORT_BLOCKS = range(20_000, 32_000, 2 * PORT_BLOCK)


def session_root(settings: Settings) -> Path:
    """A folder with a name short enough for Ray's Unix sockets, that only this user can enter.

    Raises:
        SettingsError: another user owns it.
    """
    for base in (settings.runtime_dir, Path("/tmp") / settings.runtime_dir.name):  # noqa: S108 - its owner is checked
        if len(os.fsencode(base)) + LONGEST_SOCKET <= SOCKET_PATH_LIMIT:
            break
    else:
        raise AssertionError("a path in /tmp is always short enough")
    for folder, mode in ((base, 0o711), (base / "ray", 0o700), (base / HAPROXY_FOLDER, 0o700)):
        folder.mkdir(mode=mode, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            raise SettingsError(f"{folder} belongs to another user: remove it, or set TMPDIR to a folder of your own.")
    return base


def remove_old_sessions(root: Path, *, keep: int = 1) -> None:
    """Remove the sessions of earlier Rays; the last one stays, since its logs say why it ended."""
    sessions = sorted(p for p in (root / "ray").glob("session_*") if p.is_dir() and not p.is_symlink())
    for session in sessions[: len(sessions) - keep]:
        shutil.rmtree(session, ignore_errors=True)


def remove_session_root(settings: Settings) -> None:
    """Remove what an orderly end leaves in the temporary folder; the embedded servers remove their own part."""
    root = session_root(settings)
    for folder in (root / "ray", root / HAPROXY_FOLDER):
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        root.rmdir()


def ensure_ray_token(environment: Mapping[str, str]) -> None:
    """Make Ray's default token file when there is no token, readable by this user alone (Ray would let all read it).

    Raises:
        SettingsError: it cannot be written.
    """
    if environment.get("RAY_AUTH_TOKEN") or environment.get("RAY_AUTH_TOKEN_PATH"):
        return
    path = ray_token_path(Path(environment.get("HOME") or Path.home()))
    if path.exists():
        make_private(path)
        return
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise SettingsError(
            f"Ray's token cannot be written to {path} ({error.strerror}): set RAY_AUTH_TOKEN_PATH to a file with a "
            "token that only this user can read."
        ) from error
    with os.fdopen(fd, "w") as file:
        file.write(secrets.token_hex(32))
    # When two do this at once, the second must not replace the first one's token.
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(draft)
    draft.unlink()


def serve_environment(settings: Settings, inherited: Mapping[str, str], root: Path) -> dict[str, str]:
    """What `serve run` needs to start a Ray of its own."""
    environment = {name: value for name, value in inherited.items() if name not in OVERRIDDEN}
    environment |= {
        # Always a new Ray, even where RAY_ADDRESS or another Ray's folder offers one.
        "RAY_ADDRESS": "local",
        "RAY_TMPDIR": str(root),
        # GCS and raylet listen on every interface. Unset, Ray decides by itself, each command differently.
        "RAY_AUTH_MODE": "token",
        # Ray's workers run at nice 15; on a busy machine the services would starve.
        "RAY_worker_niceness": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        # A proxy that was killed comes back after three missed checks: 6 s instead of 30.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
        # At Serve's 0.1 s the idle controller takes a tenth of a processor.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.3",
        "RAY_SERVE_ADDRESS": local_url(settings),
        "SEEDCORE_DATA_DIR": str(settings.data_dir),
        "PYTHONUNBUFFERED": "1",
        **import_path(inherited),
        **bounds(settings, inherited),
        **pauses(settings, inherited),
    }
    if settings.http_mode == "haproxy":
        environment |= haproxy_environment(settings, root)
    return environment


def import_path(inherited: Mapping[str, str]) -> dict[str, str]:
    """Skills of the folder that SeedCore was started in can be imported in every process."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(Path.cwd()), inherited.get("PYTHONPATH")]))}


def local_url(settings: Settings) -> str:
    """Base URL of the HTTP server that this start brings up, for clients on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.http_host, settings.http_host)  # noqa: S104 - compared
    return f"{settings.http_scheme}://{f'[{host}]' if ':' in host else host}:{settings.http_port}"


def haproxy_environment(settings: Settings, root: Path) -> dict[str, str]:
    """Serve behind HAProxy. Its folder, sockets and ports default to fixed ones: two instances would clash."""
    folder = root / HAPROXY_FOLDER
    replicas = _free_block(settings)
    last = replicas + 2 * PORT_BLOCK - 1
    # Of the block, too: a port that the kernel gives to connections may be taken before HAProxy listens on it.
    stats, metrics, fallback, fallback_grpc = range(last - 3, last + 1)
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        # Only both together help: 6 to 10 times the requests a second.
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # HAProxy with problem documents, and without /-/routes.
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(Path(sysconfig.get_path("scripts")) / "seedcore-haproxy"),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / HAPROXY_ADMIN),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / HAPROXY_METRICS),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        # By default all share port 8500, and each gets requests of the others while its replicas start.
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_grpc),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(replicas),
        # Ray takes ports below the last one, and takes the last one for its own all the same: no block shares it.
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(replicas + PORT_BLOCK - 1),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(replicas + PORT_BLOCK),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(last - 4),
        # On one machine, half a minute to notice that a replica goes is too long.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "5",
    }


def _free_block(settings: Settings) -> int:
    """First port of two free blocks for replicas and HAProxy, each data directory beginning its search elsewhere."""
    seed = int.from_bytes(hashlib.sha256(str(settings.data_dir).encode()).digest()[:2])
    start = free_block(PORT_BLOCKS, 2 * PORT_BLOCK, seed)
    if start is None:
        raise SettingsError(f"No {2 * PORT_BLOCK} free ports in a row: set SEEDCORE_HTTP_MODE=proxy, which needs none.")
    return start
