"""Skills that end their process: on a real Ray the host comes back, the task cannot do so for ever."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ray_head import isolated_env, ray_head

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent
RUN = HERE / "deadly_run.py"


def test_a_task_that_kills_its_host_is_tried_elsewhere_and_then_ends_with_its_errors(pg_dsn: str, tmp_path: Path):
    env = {
        "PYTHONPATH": str(HERE),
        "SEEDCORE_PG_DSN": pg_dsn,
        "SEEDCORE_SKILLS": "deadly_skills",
        "SEEDCORE_DATA_DIR": str(tmp_path / "data"),
        "SEEDCORE_RETRY_BASE_S": "0.1",
        "SEEDCORE_POLL_S": "0.2",
        "SEEDCORE_REAP_S": "0.2",
    }
    with ray_head(num_cpus=1, env=env) as head:
        command = [sys.executable, str(RUN), head.address]
        done = subprocess.run(command, env=isolated_env(env), capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    told = json.loads(done.stdout.strip().splitlines()[-1])
    (once,) = told["once"]
    assert (once["status"], once["attempts"]) == ("completed", 2)
    (always,) = told["always"]
    assert (always["status"], always["attempts"], always["codes"]) == ("failed", 2, ["host_lost", "host_lost"])
    assert {task["status"] for task in told["batch"]} == {"completed"}
