"""`seedcore skill new`: what it writes works as it is, and what it refuses it says."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seedcore.cli import main as module
from seedcore.cli.skill_new import write_package
from seedcore.errors import InvalidInputError
from seedcore.settings import load_settings
from seedcore.skills import SkillRegistry


def run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.integration
@pytest.mark.parametrize("name", ["acme.greet", "bookkeeper", "acme.billing_2.check"])
def test_what_is_written_passes_its_own_test(tmp_path: Path, name: str):
    package = write_package(name, tmp_path / "new" / "folder")
    assert "$" not in "".join(p.read_text() for p in package.rglob("*") if p.is_file())
    run(package, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")


def test_what_is_written_is_a_skill_that_seedcore_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = write_package("acme.counted", tmp_path)
    monkeypatch.syspath_prepend(package / "src")
    spec = SkillRegistry.load(load_settings(skills="acme_counted")).find("acme.counted")
    assert (spec.organ, spec.timeout_s, spec.description) == ("utility", 10, "Count words.")


@pytest.mark.integration
@pytest.mark.parametrize(
    "tool", [("ruff", "check", "--extend-select", "I,B,UP,RUF", "."), ("ruff", "format", "--check", "."), ("mypy", ".")]
)
def test_what_is_written_is_clean(tmp_path: Path, tool: tuple[str, ...]):
    beside = Path(sys.executable).with_name(tool[0])
    command = str(beside) if beside.exists() else shutil.which(tool[0])
    if command is None:
        pytest.skip(f"{tool[0]} is not installed here")
    run(write_package("acme.greet", tmp_path), command, *tool[1:])


def test_nothing_is_overwritten(tmp_path: Path):
    package = write_package("acme.greet", tmp_path)
    (package / "README.md").write_text("mine")
    with pytest.raises(InvalidInputError, match="there already"):
        write_package("acme.greet", tmp_path)
    assert (package / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    "name",
    ["", "Greet", "acme..greet", ".greet", "acme.greet.", "1st", "acme-greet", "../acme", "acme/greet", "a b", "ü",
     "acme.class", "json", "seedcore", "goal", "numpy", "a" * 61],
)  # fmt: skip
def test_a_name_that_cannot_be_a_package_is_refused_and_named(tmp_path: Path, name: str):
    with pytest.raises(InvalidInputError) as caught:
        write_package(name, tmp_path)
    assert caught.value.errors[0].field == "NAME"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="--dir"):
        write_package("acme.greet", tmp_path / "file")


def test_the_command_writes_into_the_folder_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    arguments = ["seedcore", "skill", "new", "acme.greet", "--dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as caught:
        module.main()
    assert caught.value.code == 0
    assert str(tmp_path / "acme-greet") in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        module.main()
    assert caught.value.code == module.EXIT_BAD_INPUT
    said = capsys.readouterr().err
    assert said.startswith("seedcore: ")
    assert said.count("\n") == 1
