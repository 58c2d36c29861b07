"""Skills that end or block their process: on a real Ray the host comes back, the task cannot do so for ever."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.ray_head import isolated_env, ray_head

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent
RUN = HERE / "deadly_run.py"


def test_a_skill_that_kills_or_blocks_its_host_costs_its_own_task_attempts_and_its_neighbours_none(
    pg_dsn: str, tmp_path: Path
):
    # One test for all of them: a Ray and its hosts are dear.
    told = run(pg_dsn, tmp_path)
    killed(told)
    blocked(told)
    in_processes_and_threads(told)


def run(pg_dsn: str, tmp_path: Path) -> dict[str, Any]:
    env = {
        "PYTHONPATH": str(HERE),
        "SEEDCORE_PG_DSN": pg_dsn,
        "SEEDCORE_SKILLS": "deadly_skills",
        "SEEDCORE_DATA_DIR": str(tmp_path / "data"),
        "SEEDCORE_RETRY_BASE_S": "0.1",
        "SEEDCORE_POLL_S": "0.2",
        "SEEDCORE_REAP_S": "0.2",
        "SEEDCORE_HOST_BLOCKED_S": "1.5",
    }
    with ray_head(num_cpus=1, env=env) as head:
        command = [sys.executable, str(RUN), head.address]
        done = subprocess.run(command, env=isolated_env(env), capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    # Ray tells its driver of dead workers on the same stream.
    told: dict[str, Any] = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    return told


def killed(told: dict[str, Any]) -> None:
    (once,) = told["once"]
    assert (once["status"], once["attempts"]) == ("completed", 2)
    (always,) = told["always"]
    assert (always["status"], always["attempts"], always["codes"]) == ("failed", 2, ["host_lost", "host_lost"])
    assert {task["status"] for task in told["batch"]} == {"completed"}


def blocked(told: dict[str, Any]) -> None:
    *naps, culprit = told["blocked"]
    assert (culprit["status"], culprit["attempts"], culprit["codes"]) == ("failed", 1, ["host_blocked"])
    assert [(nap["status"], nap["attempts"]) for nap in naps] == [("completed", 1)] * 5
    assert "last_end" not in told["before"]
    end = told["after"]["last_end"]
    assert "blocked the event loop" in end["reason"]
    assert (end["task_id"], end["skill"], end["agent"]) == (culprit["id"], "block", "t-0000")
    assert "deadly_skills.py" in end["stack"]
    assert "time.sleep(60)" in end["stack"]


def in_processes_and_threads(told: dict[str, Any]) -> None:
    died, nap = told["process"]
    assert (died["status"], died["attempts"], died["codes"]) == ("failed", 1, ["skill_process_died"])
    assert (nap["status"], nap["attempts"]) == ("completed", 1)
    results = [one["result"]["value"] for (one,) in told["memory"]]
    assert results == [1, 2]
