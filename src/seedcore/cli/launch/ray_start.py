"""Lets Ray and Serve start on a busy machine, and rest on an idle one.

Time limits that suit it, ports that are known in advance, loops that do not turn faster than anyone looks, and no
process that is never used.
"""

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

from seedcore.cli.launch.free_ports import free_block
from seedcore.errors import SettingsError
from seedcore.settings import Settings

PARTS = 5
"""A single part may take one of this many parts of the whole start, SEEDCORE_BOOTSTRAP_TIMEOUT_S."""

AGENT_PORTS = ("metrics_agent_port", "runtime_env_agent_port", "dashboard_agent_listen_port", "metrics_export_port")
# Below the ports that the kernel gives to connections, above those of replicas and HAProxy.
AGENT_PORT_BLOCKS = range(32_100, 32_700, len(AGENT_PORTS))


def bounds(settings: Settings, inherited: Mapping[str, str]) -> dict[str, str]:
    """Time limits of the parts of Ray and Serve; a variable that the user has set wins."""
    seconds = max(1, int(settings.bootstrap_timeout_s / PARTS))
    wanted = {
        # The GCS's port file (30 s), its first answer (30 s), the raylet's entry there (10 s), the raylet's agents
        # (30 s) and a worker's first call (60 s).
        "RAY_gcs_server_port_wait_time_s": seconds,
        "RAY_py_gcs_connect_timeout_s": seconds,
        "RAY_raylet_start_wait_time_s": seconds,
        "RAY_agent_register_timeout_ms": seconds * 1000,
        "RAY_worker_register_timeout_seconds": seconds,
        # Serve kills a proxy that is not ready in time (5 s), and `serve run` ends with it.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": seconds,
        "RAY_SERVE_HAPROXY_STARTUP_TIMEOUT_S": seconds,
        "SEEDCORE_RAY_CONNECT_TIMEOUT_S": seconds,
    }
    return {name: inherited.get(name, str(value)) for name, value in wanted.items()}


def pauses(settings: Settings, inherited: Mapping[str, str]) -> dict[str, str]:
    """Pauses of the loops of Ray and Serve that turn on an idle machine; a variable that the user has set wins.

    Together they take a fifth of what an idle Serve with seven applications takes (0.18 to 0.15 processors).
    """
    wanted: dict[str, float] = {
        # Each replica and each handle hands its counts over ten times a second; they are read every 10 s.
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": 5_000,
        # Every process reports to the GCS once a second what it has run: only the state API asks for that.
        "RAY_task_events_report_interval_ms": 5_000,
        # Ray's counts of its own handlers are read by nothing; it logs them every minute.
        "RAY_event_stats": 0,
        # The log monitor lists the folder of logs ten times a second; from so many files on, twice.
        "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": 0,
    }
    if not settings.ray_dashboard:
        # The agent looks at every process for the dashboard's pages.
        wanted["REPORTER_UPDATE_INTERVAL_MS"] = 15_000
    return {name: inherited.get(name, str(value)) for name, value in wanted.items()}


def agent_ports(settings: Settings) -> dict[str, int]:
    """Free ports for the agents beside the raylet.

    Left to choose their own, they write them to files that the raylet waits for, 15 s and no longer: with ports that
    are known it does not wait.

    Raises:
        SettingsError: there are none.
    """
    seed = int.from_bytes(hashlib.sha256(str(settings.data_dir).encode()).digest()[:2])
    first = free_block(AGENT_PORT_BLOCKS, len(AGENT_PORTS), seed)
    if first is None:
        span = f"{AGENT_PORT_BLOCKS.start} and {AGENT_PORT_BLOCKS.stop}"
        raise SettingsError(f"No {len(AGENT_PORTS)} free ports in a row between {span} for Ray's agents: free some.")
    return {name: first + n for n, name in enumerate(AGENT_PORTS)}


def name_agent_ports(ray: Any, ports: Mapping[str, int]) -> None:
    """Let the Ray that `ray.init` starts in this process use the ports; `ray` is the package.

    `ray.init` takes one of them, Ray's own parameters the others, and the raylet must be shown the last one: Ray leaves
    that flag of it out.
    """
    parameter, services = ray._private.parameter, ray._private.services
    start, exported, listen = services.start_ray_process, "metrics_export_port", "dashboard_agent_listen_port"

    def start_process(command: list[str], process_type: str, *rest: Any, **more: Any) -> Any:
        flags = [f"--{listen}={ports[listen]}"] if process_type == "raylet" else []
        return start([*command, *flags], process_type, *rest, **more)

    services.start_ray_process = start_process
    others = {name: port for name, port in ports.items() if name != exported}
    parameter.RayParams = functools.partial(parameter.RayParams, **others)
    ray.init = functools.partial(ray.init, _metrics_export_port=ports[exported])


def leave_out_unused(ray: Any) -> None:
    """Let the Ray that `ray.init` starts in this process do without two processes; `ray` is the package.

    Without the dashboard its server has one module left, usage statistics, which are off; and there is nothing to
    scale on a single machine. `ray status` then has no report. Together 2 s of processor time and 130 MB.
    """
    parameter, services = ray._private.parameter, ray._private.services
    parameter.RayParams = functools.partial(parameter.RayParams, no_monitor=True)
    services.start_api_server = _no_api_server


def _no_api_server(*_: Any, **__: Any) -> tuple[str, None]:
    """The URL and the process of a server that is not started."""
    return "", None
