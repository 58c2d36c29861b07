"""`serve run serve_config/dev.yaml` by hand is checked as `seedcore run` checks before it starts anything.

Serve's command line runs none of SeedCore's code. The builders are the first that run: Serve runs each in a
task on the Ray that it has just started, before any replica exists. Applications with `by_hand: true` in their
arguments call this.
"""

import contextlib
import os
import signal
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from seedcore.errors import SettingsError
from seedcore.settings import Settings, get_settings
from seedcore.stores.data_dir_lock import DataDirLock
from seedcore.stores.embedded.lock_files import ServerFiles
from seedcore.utils.exposure import check_exposure, make_private, ray_token_path
from seedcore.utils.serve_run import raylet_above, serve_run_above
from seedcore.utils.tls.contexts import check_certificate

EVERY_INTERFACE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared
ANSWER_S = 10.0


def check(args: Mapping[str, Any]) -> None:
    """Refuse to build an application that others could reach without a key, or where clients do not look for it.

    Raises:
        SettingsError: the file and the settings do not fit; Serve logs it and does not deploy the application.
    """
    if args.get("by_hand"):
        options = _listening()
        check_http(get_settings(), options.host, options.port, options.ssl_certfile)


def claim(args: Mapping[str, Any]) -> None:
    """Check the same, and claim the port and the data directory for this Ray; once per start, by the gateway's builder.

    What is refused ends the `serve run` that started this Ray, with the reason in its terminal.

    Raises:
        SettingsError: as `check`, or another SeedCore has the port or the data directory.
    """
    if not args.get("by_hand"):
        return
    starter = serve_run_above()
    try:
        settings = get_settings()
        options = _listening()
        host, port = options.host, options.port
        check_http(settings, host, port, options.ssl_certfile)
        raylet = raylet_above()
        assert raylet is not None, "a builder runs in a worker of Ray"
        check_port(host, port, {process.pid for process in raylet.children(recursive=True)})
        make_private(ray_token_path(Path.home()))
        _take_data_dir(settings, raylet, starter or raylet)
    except SettingsError as error:
        if starter is not None:
            _end(starter, error.detail)
        raise


def _listening() -> Any:
    """The options of Serve's proxy. Serve has no public call that says them, nor does it give them to builders."""
    import ray
    from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE

    controller = ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
    return ray.get(controller.get_http_config.remote(), timeout=ANSWER_S)


def check_http(settings: Settings, host: str, port: int, certificate: str | None = None) -> None:
    """Refuse a host that others reach without a key, and settings that name another place than Serve listens at.

    Args:
        settings: what the user has set.
        host: where Serve listens.
        port: where Serve listens.
        certificate: the file of its certificate; None: it speaks plain HTTP.

    Raises:
        SettingsError: names the setting, and what to change.
    """
    check_exposure(settings, host)
    for name, wanted, there in (
        ("SEEDCORE_HTTP_HOST", settings.http_host, host),
        ("SEEDCORE_HTTP_PORT", settings.http_port, port),
    ):
        if wanted != there:
            raise SettingsError(
                f"{name} is {wanted}, but the file that `serve run` was given says {there} in its http_options: Serve "
                "knows no settings, so write the same in both, or use `seedcore run`, which needs the setting alone."
            )
    given = None if settings.tls_cert is None else str(settings.tls_cert)
    if given != certificate:
        raise SettingsError(
            f"SEEDCORE_TLS_CERT is {given or 'not set'}, but the file that `serve run` was given says "
            f"{certificate or 'nothing'} (ssl_certfile, ssl_keyfile in its http_options): write the same in both, or "
            "use `seedcore run`, which needs the setting alone."
        )
    check_certificate(settings)


def check_port(host: str, port: int, ours: Collection[int]) -> None:
    """Refuse a port on which another program listens: the kernel would spread requests over both.

    Args:
        host: where Serve listens.
        port: where Serve listens.
        ours: the processes of this Ray.

    Raises:
        SettingsError: names that program, when it belongs to this user.
    """
    for pid in _listeners(host, port):
        if pid not in ours:
            raise SettingsError(
                f"SEEDCORE_HTTP_PORT={port} is in use on {host} (pid {pid or 'of another user'}): stop what listens "
                "there, or set another port, in the file that `serve run` was given as well."
            )


def _listeners(host: str, port: int) -> Iterator[int | None]:
    name = "127.0.0.1" if host == "localhost" else host
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr:
            where = connection.laddr
            if where.port == port and (where.ip == name or EVERY_INTERFACE & {where.ip, name}):
                yield connection.pid


def _take_data_dir(settings: Settings, raylet: psutil.Process, owner: psutil.Process) -> None:
    """Lock it for as long as this Ray lives. A second deployment on the same Ray finds its own lock."""
    ServerFiles(settings.data_dir, "postgres").make()
    lock = DataDirLock(settings.data_dir)
    if not lock.is_held_for(owner.pid):
        lock.take()
        lock.leave_to(owner.pid, until=raylet.pid)


def _end(starter: psutil.Process, reason: str) -> None:
    """Print the reason where `serve run` was typed, and end it: otherwise its Ray would stay, with nothing on it."""
    # A terminal, file or pipe can be opened again; for anything else, the log of Serve says the same.
    with contextlib.suppress(OSError), Path(f"/proc/{starter.pid}/fd/2").open("a") as terminal:
        terminal.write(f"seedcore: {reason}\n")
    os.kill(starter.pid, signal.SIGTERM)
