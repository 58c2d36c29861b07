"""Every shell script: shellcheck, and the bits that say it stops at the first error."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.files import ROOT, scripts

SCRIPTS = [*scripts(), ROOT / ".ci" / "run"]


def test_shellcheck_finds_nothing():
    shellcheck = Path(sys.prefix) / "bin" / "shellcheck"
    command = [
        str(shellcheck) if shellcheck.exists() else "shellcheck",
        "--external-sources",
        "--source-path=SCRIPTDIR",
        *map(str, SCRIPTS),
    ]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_can_be_run_and_stop_at_the_first_error(script: Path):
    assert script.stat().st_mode & 0o111, "not executable"
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
