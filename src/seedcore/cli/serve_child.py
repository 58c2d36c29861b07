"""`serve run` under the launcher: `python -m seedcore.cli.serve_child run FILE`.

Four things that Serve's command line has no option for: Ray without its dashboard and with known ports for its agents,
dispatchers that hand back what they hold before Serve goes, and an end when the launcher ends.
"""

import contextlib
import functools
import os
import re
import select
import threading
import time
from collections.abc import Callable
from typing import Any

from seedcore.cli.processes import kill_all
from seedcore.cli.ray_start import agent_ports, name_agent_ports
from seedcore.cli.stop import ours
from seedcore.settings import Settings, get_settings
from seedcore.utils.logs import configure_logs, get_logger

FORCE_AFTER_S = 10.0
HAND_BACK_S = 2.0
_DISPATCHER = re.compile(r"seedcore-(\w+-)?dispatcher-\d+")


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
    serve.shutdown = _first(functools.partial(hand_back, settings), serve.shutdown)
    cli()


def hand_back(settings: Settings) -> None:
    """Let every dispatcher finish what ends soon and give the rest back, so that no task waits for its lease to end."""
    import ray
    from ray.util import list_named_actors

    named = list_named_actors(all_namespaces=True)
    names = [a["name"] for a in named if a["namespace"] == settings.namespace and _DISPATCHER.fullmatch(a["name"])]
    stops: list[Any] = [ray.get_actor(name, namespace=settings.namespace).stop.remote(HAND_BACK_S) for name in names]
    done, late = ray.wait(stops, num_returns=len(stops), timeout=2 * HAND_BACK_S) if stops else ([], [])
    get_logger("seedcore.cli").info("dispatchers stopped", stopped=len(done), late=len(late))


def _first(step: Callable[[], None], then: Callable[[], None]) -> Callable[[], None]:
    def both() -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - a Ray that is half gone must not keep Serve from ending
            get_logger("seedcore.cli").warning("leases end by themselves", reason=f"{type(error).__name__}: {error}")
        then()

    return both


def _end_with(launcher: int, settings: Settings) -> None:
    """Once the launcher was killed, the kernel sends this process a SIGINT; where that is not enough, end all by force.

    Ray's agents outlive a raylet that was killed, so it is not enough to be killed oneself.
    """
    # One that has gone already cannot be waited for.
    with contextlib.suppress(ProcessLookupError):
        select.select([os.pidfd_open(launcher)], [], [])
    time.sleep(FORCE_AFTER_S)
    kill_all(ours(settings))
    os._exit(1)


if __name__ == "__main__":
    main()
