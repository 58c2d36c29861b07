"""`ml.tune` on a real Ray: killed trials, drivers and workers cost what was running, and nothing else."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.ml.tuning.search_run import ROUNDS, TRIALS
from tests.support.ray_head import ray_head

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

RUN = Path(__file__).parent / "search_run.py"


def run(pg_dsn: str, folder: Path) -> dict[str, Any]:
    env = {
        "SEEDCORE_PG_DSN": pg_dsn,
        "SEEDCORE_DATA_DIR": str(folder / "data"),
        "HOME": str(folder),
        "PYTHONPATH": str(RUN.parents[3]),
    }
    with ray_head(num_cpus=2, env=env) as head:
        command = [sys.executable, str(RUN), head.address, str(head.raylet.pid)]
        done = subprocess.run(command, env=head.env, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    seen: dict[str, Any] = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    return seen


def test_kills_cost_what_was_running_and_a_cancelled_or_starved_search_ends(pg_dsn: str, tmp_path: Path):
    # One test for all of them: a Ray and its processes are dear.
    seen = run(pg_dsn, tmp_path)
    resumed(seen)
    stored(seen)
    assert seen["cancelled_s"] < 5
    starved = seen["starved"]
    assert (starved["error"], starved["transient"]) == ("unavailable", True)
    assert "a trial needs 0.5 (SEEDCORE_TUNE_TRIAL_CPUS), and 0 of Ray's 2 are free" in starved["detail"]
    assert any(note and note.startswith("waiting for CPUs") for note in seen["starved_notes"])


def resumed(seen: dict[str, Any]) -> None:
    assert seen["first"] == "lost"
    assert seen["orphans_gone_s"] < 10
    assert (seen["second"]["error"], seen["second"]["transient"]) == ("unavailable", True)
    assert seen["ended_before"] >= 2
    assert seen["unchanged"], "a trial that had ended before the kill was run again"
    trials = seen["trials"]
    assert [name for name, *_ in trials] == [f"{n:04d}" for n in range(1, TRIALS + 1)]
    assert {status for _, status, *_ in trials} <= {"completed", "pruned"}
    assert all(scores[-1][0] == ROUNDS for _, status, scores, _ in trials if status == "completed")
    assert all(scores[-1][0] < ROUNDS for _, status, scores, _ in trials if status == "pruned")
    assert len({json.dumps(params) for *_, params in trials}) == TRIALS, "the sampler drew the same again"


def stored(seen: dict[str, Any]) -> None:
    third = seen["third"]
    best = min(score for _, _, scores, _ in seen["trials"] for _, score in scores)
    assert third["score"] == best
    assert third["completed"] + third["pruned"] == TRIALS
    assert third["params"]["num_boost_round"] == third["rounds"]
    low, high = third["intervals"]["logloss"]
    assert low < third["held_out"]["logloss"] < high
    assert seen["again"]["version"] == third["version"] == 1, "a repeated attempt must not store a second version"
    assert seen["aliases"] == [["candidate", 1]]
    assert (seen["left"], seen["ray_results"]) == ([], False)
