"""Runs `serve run` under the launcher: `python -m seedcore.cli.launch.serve_child run FILE`.

What Serve's command line has no option for: Ray without its dashboard, without processes that are never used, and with
known ports for its agents, dispatchers that release what they hold before Serve ends, and an end when the launcher
ends.
"""

import contextlib
import functools
import os
import select
import threading
import time
from collections.abc import Callable

from seedcore.cli.launch.child_processes import kill_all
from seedcore.cli.launch.ray_start import agent_ports, leave_out_unused, name_agent_ports
from seedcore.cli.launch.shutdown import own_processes
from seedcore.settings import Settings, get_settings
from seedcore.telemetry.logs import configure_logs, get_logger
from seedcore.utils.serve_run import stop_dispatchers

FORCE_AFTER_S = 10.0


def main() -> None:
    """Run Serve's command line."""
    settings = get_settings()
    configure_logs(settings)
    threading.Thread(target=_end_with, args=(os.getppid(), settings), name="launcher-watch", daemon=True).start()

    import ray
    from ray import serve
    from ray.serve.scripts import cli

    ray.init = functools.partial(ray.init, include_dashboard=settings.ray_dashboard)
    name_agent_ports(ray, agent_ports(settings))
    if not settings.ray_dashboard:
        leave_out_unused(ray)
    serve.shutdown = _before(functools.partial(stop_dispatchers, settings), serve.shutdown)
    cli()


def _before(step: Callable[[], None], then: Callable[[], None]) -> Callable[[], None]:
    def both() -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - a Ray that is half gone must not keep Serve from ending
            get_logger("seedcore.cli").warning(
                "dispatchers not stopped, their leases will expire", reason=f"{type(error).__name__}: {error}"
            )
        then()

    return both


def _end_with(launcher: int, settings: Settings) -> None:
    """Once the launcher was killed, the kernel sends this process a SIGINT; where that is not enough, kill everything.

    Ray's agents outlive a killed raylet, so the end of this process alone is not enough.
    """
    # One that has ended already cannot be waited for.
    with contextlib.suppress(ProcessLookupError):
        select.select([os.pidfd_open(launcher)], [], [])
    time.sleep(FORCE_AFTER_S)
    kill_all(own_processes(settings))
    os._exit(1)


if __name__ == "__main__":
    main()
