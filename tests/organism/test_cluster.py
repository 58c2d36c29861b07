"""The Organism on several nodes: it spreads hosts and workers, it heals them, it rolls them, and it stops hosts."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.ray_head import isolated_env

pytestmark = pytest.mark.integration

RUN = Path(__file__).parent / "cluster_run.py"
ORGANS = "organs:\n  utility: {agents: 6, isolation: process, hosts: 3}\n"


def test_hosts_spread_over_nodes_survive_kills_and_a_lost_node_and_are_replaced_one_by_one(pg_dsn: str, tmp_path: Path):
    organs = tmp_path / "organs.yaml"
    organs.write_text(ORGANS)
    env = {
        "SEEDCORE_PG_DSN": pg_dsn,
        "SEEDCORE_ORGANS_PATH": str(organs),
        "SEEDCORE_DATA_DIR": str(tmp_path / "data"),
        "SEEDCORE_DISPATCHERS": "3",
        "SEEDCORE_GRAPH_DISPATCHERS": "0",
        "PYTHONPATH": str(RUN.parents[2]),
    }
    # Short, because Ray puts UNIX sockets below it and their paths are limited to 107 bytes. The cluster leaves its
    # address in RAY_TMPDIR/ray, where nobody else's Ray may look.
    temp_dir = tempfile.mkdtemp(prefix="rc", dir="/tmp")
    env["RAY_TMPDIR"] = temp_dir
    # Ray finds a lost node in 3 s instead of 15.
    env |= {"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "3"}
    (Path(temp_dir) / "ray").mkdir()
    process = subprocess.Popen(
        [sys.executable, str(RUN), f"{temp_dir}/ray"],
        env=isolated_env(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=170)
    except subprocess.TimeoutExpired:
        # SIGTERM lets the cluster's own exit hooks end what they started.
        os.killpg(process.pid, signal.SIGTERM)
        out, err = process.communicate(timeout=15)
    finally:
        shutil.rmtree(temp_dir, ignore_errors=True)
    assert process.returncode == 0, out[-3000:] + err[-6000:]
    # Ray writes lines of its own between.
    told = json.loads(next(line for line in reversed(out.splitlines()) if line.startswith('{"')))
    print(told)
    assert told["before"] is False
    assert told["works"]
    assert told["nodes"] == 3
    assert told["killed_works_s"] < 15
    assert told["replica"] == [True, True]
    assert told["node_had"] > 0
    assert told["same_hosts"], "Ray moves hosts to another node; nobody makes new ones"
    assert told["nodes_after"] == 2
    assert told["rolled"] == [3, 3]
    assert told["worker_nodes"] == 3
    assert told["worker_back_s"] < 15
    assert told["after_shutdown"] == [True, True, 3], "workers go on"
