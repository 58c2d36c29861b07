"""The example package, as its README says: tested, installed, found by SeedCore, and run on a host."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from seedcore.fleet.organ_spec import load_organs
from seedcore.settings import load_settings

PACKAGE = Path(__file__).parents[2] / "examples" / "acme_skills"

# In a process of its own: it sees the package only where it was installed.
SERVE = """
import asyncio, json, sys
from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.worker.execution.executor import SkillExecutor
from seedcore.settings import get_settings
from seedcore.skills.host_protocol import Call
from seedcore.skills.registry import SkillRegistry

async def main():
    registry = SkillRegistry.load(get_settings())
    executor = SkillExecutor(registry, get_settings(), AgentRegistry("billing", ["billing-0000"]))
    calls = [Call(str(n), 1, 1, t["type"], json.dumps(t["params"]), "billing-0000", None, str(n))
             for n, t in enumerate(json.load(sys.stdin))]
    done = {}
    async for chunk in executor.run(calls):
        done |= {c.task_id: json.loads(c.result) if c.ok else {"failed": c.error_message} for c in chunk}
    organs = {name: spec.organ for name, spec in registry.items() if name.startswith("acme.")}
    print(json.dumps({"results": [done[str(n)] for n in range(len(calls))], "organs": organs}))

asyncio.run(main())
"""


def readme_blocks() -> list[str]:
    return re.findall(r"```\n(.*?)```", (PACKAGE / "README.md").read_text(), re.DOTALL)


def run(command: list[str], folder: Path, given: str = "", **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, input=given, capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def asked() -> list[dict[str, Any]]:
    """The tasks that the README's second terminal submits."""
    return [json.loads(body) for body in re.findall(r"-d '(.*)'", readme_blocks()[1])]


@pytest.mark.integration
def test_the_package_works_as_its_readme_says(tmp_path: Path, require_service: Callable[[bool, str], None]):
    try:
        import hatchling  # noqa: F401

        builds = True
    except ImportError:
        builds = False
    require_service(builds, "hatchling, which builds the package")
    copy = shutil.copytree(PACKAGE, tmp_path / "acme_skills", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    test, install, start = readme_blocks()[0].splitlines()
    assert test == "python -m pytest"
    run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], copy)

    assert install == "pip install ."
    installed = tmp_path / "installed"
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--target", str(installed)]
    run([sys.executable, "-m", "pip", *install.split()[1:], *offline], copy)
    shutil.rmtree(copy / "src")

    organs_file = start.partition("SEEDCORE_ORGANS_PATH=")[2].partition(" ")[0]
    organs = load_organs(load_settings(organs_path=copy / organs_file))
    answer = json.loads(run([sys.executable, "-c", SERVE], tmp_path, json.dumps(asked()), PYTHONPATH=str(installed)))
    assert set(answer["organs"]) == {"acme.total", "acme.statement", "acme.match"}
    assert set(answer["organs"].values()) <= set(organs)
    assert answer["results"] == [json.loads(line) for line in readme_blocks()[2].splitlines()]


def test_its_organs_file_adds_to_seedcores_own_organs():
    theirs = yaml.safe_load((PACKAGE / "organs.yaml").read_text())["organs"]
    own = load_organs(load_settings())
    assert load_organs(load_settings(organs_path=PACKAGE / "organs.yaml")).keys() == own.keys() | theirs.keys()
    assert not own.keys() & theirs.keys()
