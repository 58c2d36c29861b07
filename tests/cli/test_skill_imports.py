"""Modules with skills are tried before a start: what is wrong with one is said at once, with its name."""

import os
import sys
import time
from pathlib import Path

import pytest

from seedcore.cli.skill_imports import check_skills
from seedcore.errors import SettingsError
from seedcore.settings import load_settings

GOOD = """
from pydantic import BaseModel
from seedcore.skills import SkillContext, skill

class Number(BaseModel):
    value: float

@skill("acme.double")
async def double(params: Number, context: SkillContext) -> Number:
    return Number(value=2 * params.value)
"""


def check(folder: Path, source: str | None, *, slow_s: float = 30.0, limit_s: float = 60.0) -> list[str]:
    """Check the module `acme` with that source; returns what was said meanwhile."""
    if source is not None:
        (folder / "acme.py").write_text(source)
    said: list[str] = []
    environment = os.environ | {"SEEDCORE_SKILLS": "acme", "PYTHONPATH": str(folder)}
    check_skills(load_settings(skills="acme"), environment, said.append, slow_s=slow_s, limit_s=limit_s)
    return said


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (None, "No module named 'acme'"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("x = 1", "defines no skill"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import os; print('bye'); os._exit(7)", "exit status 7"),
        ("import os, sys; sys.stderr.write('out of luck\\n'); sys.stderr.flush(); os.abort()", "signal 6: out of luck"),
    ],
    ids=["missing", "raises", "no skill", "sys.exit", "os._exit", "abort"],
)
def test_a_module_that_cannot_be_imported_is_named_with_the_reason(
    tmp_path: Path, source: str | None, why: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        check(tmp_path, source)
    assert "SEEDCORE_SKILLS: module 'acme'" in refused.value.detail
    assert why in refused.value.detail


def test_a_module_whose_import_does_not_end_is_named_while_it_is_waited_for_and_then_refused(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "acme.py").write_text("import time\ntime.sleep(600)")
    environment = os.environ | {"SEEDCORE_SKILLS": "acme", "PYTHONPATH": str(tmp_path)}
    with pytest.raises(SettingsError, match=r"SEEDCORE_SKILLS: module 'acme' has not been imported within 1 s"):
        check_skills(load_settings(skills="acme"), environment, said.append, slow_s=0.2, limit_s=1.0)
    assert any("waiting for the import of SEEDCORE_SKILLS: module 'acme'" in line for line in said)


def test_what_the_import_started_ends_with_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    start = f"import subprocess; open({str(pid_file)!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid))"
    with pytest.raises(SettingsError):
        check(tmp_path, start + "\nraise RuntimeError")
    pid, deadline = int(pid_file.read_text()), time.monotonic() + 10
    while Path(f"/proc/{pid}/cmdline").exists() and b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "it still runs"
        time.sleep(0.01)


def test_a_good_module_is_imported_elsewhere_and_nothing_is_said(tmp_path: Path) -> None:
    assert check(tmp_path, GOOD) == []
    assert "acme" not in sys.modules


def test_two_skills_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"Two skills are called 'echo'"):
        check(tmp_path, GOOD.replace("acme.double", "echo"))
