"""Real Rays for the connection layer, and processes of their own to connect from: Ray's state is process-wide."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ray_head import RayHead, isolated_env, launch_ray_head

TOKEN = "0123456789abcdef0123456789abcdef"
DEADLINE_S = 60

# Other Rays may run on this machine: a script sees the heads that it is given and no others. `own_cluster()` sees
# what the script itself started.
PRELUDE = """
import json, os, sys, threading, time
import psutil
from seedcore.errors import RayConnectionError
from seedcore.utils import ray_address, ray_config, ray_utils
from seedcore.utils.ray_utils import *

everything = ray_address.find_local_rays
visible = json.loads(os.environ["TEST_VISIBLE_RAYLETS"])
ray_address.find_local_rays = lambda: [r for r in everything() if r.pid in visible]
argv, out = sys.argv[1:], {}

def own_cluster():
    return [p.name() for p in psutil.Process().children(recursive=True) if p.name() in ("raylet", "gcs_server")]

def refused(*args, **kwargs):
    begin = time.monotonic()
    try:
        out["connected"] = ensure_ray_initialized(*args, **kwargs)
    except RayConnectionError as error:
        out["detail"] = error.detail
    out["seconds"] = time.monotonic() - begin
    return out.get("detail", "")
"""

Script = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def heads(starts_server: None) -> Iterator[tuple[RayHead, RayHead]]:
    """Two heads on this host; the second one demands a token."""
    launched = []
    try:
        launched.append(launch_ray_head(num_cpus=2))
        launched.append(launch_ray_head(env={"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}))
        for head in launched:
            head.wait_until_ready()
        yield launched[0], launched[1]
    finally:
        for head in launched:
            head.stop()


@pytest.fixture
def head(heads: tuple[RayHead, RayHead]) -> RayHead:
    """A head that takes everybody."""
    return heads[0]


@pytest.fixture
def locked_head(heads: tuple[RayHead, RayHead]) -> RayHead:
    """A head that demands a token."""
    return heads[1]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Run Python in a process of its own and return its `out`; `sees` are the heads that it finds on this host."""

    def run(
        body: str,
        *args: str,
        sees: tuple[RayHead, ...] = (),
        env: dict[str, str] | None = None,
        unset: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        environment = isolated_env(
            {
                "SEEDCORE_DATA_DIR": str(tmp_path / "data"),
                "SEEDCORE_RAY_CONNECT_TIMEOUT_S": "20",
                "TEST_VISIBLE_RAYLETS": json.dumps([item.raylet.pid for item in sees]),
                **(env or {}),
            }
        )
        for name in unset:
            environment.pop(name, None)
        code = PRELUDE + textwrap.dedent(body) + "\nprint('\\n' + json.dumps(out))\n"
        done = subprocess.run(
            [sys.executable, "-c", code, *args], env=environment, capture_output=True, text=True, timeout=DEADLINE_S
        )
        assert done.returncode == 0, done.stdout + done.stderr
        lines = done.stdout.strip().splitlines()
        return {**json.loads(lines[-1]), "log": "\n".join(lines[:-1])}

    return run
