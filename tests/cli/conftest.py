"""The command line as a user runs it: a process of its own, with an environment of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def seedcore(starts_server: None, tmp_path: Path) -> Run:
    """Run `seedcore ARGS` with the given variables; the data directory is the test's own."""

    def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        environment = dict(os.environ) | {"SEEDCORE_DATA_DIR": str(tmp_path / "data")} | variables
        return subprocess.run(
            [sys.executable, "-m", "seedcore.cli.main", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
