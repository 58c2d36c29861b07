"""`python -m benchmarks.empty_serve`: seven empty Serve applications until Ctrl-C; prints READY when all answer.

Ray, Serve and HAProxy get the environment, the HTTP options and the logging that `seedcore run` gives them, with the
port of SEEDCORE_HTTP_PORT and a temporary folder that belongs to SEEDCORE_DATA_DIR.
"""

import signal
import sys
import threading
import time
from os import environ
from pathlib import Path

import yaml

from benchmarks.empty_serve import apps
from seedcore.cli.launch import environment
from seedcore.cli.launch.child_processes import ChildProcess, adopt_orphans, descendants, kill_all, reap_orphans
from seedcore.cli.launch.readiness import waiting_for
from seedcore.cli.launch.serve_config import Application, filled_config
from seedcore.settings import Settings, get_settings

NAMES = ("One", "Two", "Three", "Four", "Five", "Six", "Seven")
READY = "Seven empty applications are ready"
START_S, STOP_S, POLL_S = 600.0, 10.0, 0.1
DEPLOYMENT = {
    "num_replicas": 1,
    "max_ongoing_requests": 128,
    "graceful_shutdown_timeout_s": 5,
    "graceful_shutdown_wait_loop_s": 0.2,
    "health_check_period_s": 5,
    "health_check_timeout_s": 15,
    "ray_actor_options": {"num_cpus": 0.05},
}


def main() -> int:
    """Start, wait for a signal, stop; 1 when they did not start."""
    settings = get_settings()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    adopt_orphans()
    environment.ensure_ray_token(environ)
    root = environment.session_root(settings)
    env = environment.serve_environment(settings, environ, root)
    command = [sys.executable, "-m", "benchmarks.empty_serve.serve_child", "run", str(_write_config(settings))]
    serve = ChildProcess("serve", command, env, settings.data_dir / "serve.log", at_parents_end=signal.SIGINT)
    try:
        if not _wait_ready(settings, serve, stop):
            print(f"they did not start:\n{serve.log_tail()}", flush=True)
            return 1
        print(f"\n{READY}", flush=True)
        while serve.poll() is None and not stop.wait(POLL_S):
            reap_orphans({serve.pid})
        return 0
    finally:
        _end(serve)
        environment.remove_session_root(settings)


def _write_config(settings: Settings) -> Path:
    config = filled_config(settings)
    config["applications"] = [
        {
            "name": name.lower(),
            "route_prefix": f"/{name.lower()}",
            "import_path": f"{apps.__name__}:build",
            "args": {"name": name},
            "deployments": [{"name": name, **DEPLOYMENT}],
        }
        for name in NAMES
    ]
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    path = settings.data_dir / "serve.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def _wait_ready(settings: Settings, serve: ChildProcess, stop: threading.Event) -> bool:
    url, deadline = environment.local_url(settings), time.monotonic() + START_S
    missing = [Application(name, f"/{name.lower()}") for name in NAMES]
    while missing:
        if serve.poll() is not None or time.monotonic() > deadline or stop.wait(POLL_S):
            return False
        waiting = waiting_for(url, missing)
        missing = [one for one in missing if one.name in waiting]
    return True


def _end(serve: ChildProcess) -> None:
    """As the launcher ends its own: in order, then by force."""
    serve.send(signal.SIGINT)
    deadline = time.monotonic() + STOP_S
    while descendants() and time.monotonic() < deadline:
        serve.poll()
        reap_orphans({serve.pid})
        time.sleep(POLL_S)
    kill_all(descendants())
    serve.process.wait()


if __name__ == "__main__":
    sys.exit(main())
