"""A start that fails: what is tried again, and the one sentence at the end. `serve run` is stood in for."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from benchmarks.system import free_port

pytestmark = pytest.mark.integration

# Every Python that the launcher starts imports this module first: its folder is the launcher's own.
STAND_IN = """
    import sys
    if "seedcore.cli.launch.serve_child" in sys.orig_argv:
        {}
"""


def run(tmp_path: Path, pg_dsn: str, serve: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """`seedcore run` whose `serve run` is that statement."""
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(STAND_IN).format(serve))
    mine = {
        "SEEDCORE_DATA_DIR": str(tmp_path / "data"),
        "SEEDCORE_PG_DSN": pg_dsn,
        "SEEDCORE_HTTP_PORT": str(free_port()),
        "HOME": str(tmp_path),
    }
    return subprocess.run(
        [sys.executable, "-m", "seedcore.cli.main", "run"],
        env=os.environ | mine | variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_ray_that_does_not_start_is_tried_three_times_and_then_one_sentence_says_why(tmp_path: Path, pg_dsn: str):
    done = run(tmp_path, pg_dsn, "import os; print('Exception: The current node timed out', flush=True); os._exit(1)")
    assert done.returncode == 1
    assert done.stdout.count("Starting it again") == 2
    (line,) = done.stderr.splitlines()
    assert "Ray did not start in 3 attempts" in line
    assert "`serve run` ended with exit status 1: Exception: The current node timed out." in line
    assert "SEEDCORE_BOOTSTRAP_TIMEOUT_S" in line


def test_a_start_that_takes_too_long_names_what_it_waited_for_and_the_setting(tmp_path: Path, pg_dsn: str):
    done = run(tmp_path, pg_dsn, "import time; time.sleep(600)", SEEDCORE_BOOTSTRAP_TIMEOUT_S="6")
    assert done.returncode == 1
    assert "waiting for Ray" in done.stdout
    (line,) = done.stderr.splitlines()
    assert "not ready within 6 s, still waiting for Ray" in line
    assert "SEEDCORE_BOOTSTRAP_TIMEOUT_S" in line
