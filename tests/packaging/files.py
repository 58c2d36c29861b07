"""What is shared by the tests of docker/ and deploy/: the files, read, and the names that all of them must use."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

import seedcore

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DEPLOY = ROOT / "deploy"
NAMES: dict[str, Any] = yaml.safe_load((DEPLOY / "names.yaml").read_text())
PORTS: dict[str, int] = NAMES["ports"]
IMAGE = f"{NAMES['image']}:{seedcore.__version__}"
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
RAY_VERSION = PINS["ray"]
PYTHON = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")


class ComposeLoader(yaml.SafeLoader):
    """YAML with Compose's `!reset`, which takes away what an earlier file said."""


ComposeLoader.add_constructor("!reset", lambda loader, node: None)


def compose(name: str) -> dict[str, Any]:
    """A Compose file, without what it takes away from another one."""
    loaded: dict[str, Any] = yaml.load((DOCKER / name).read_text(), Loader=ComposeLoader)
    for service in loaded["services"].values():
        for key in [key for key, value in service.items() if value is None]:
            del service[key]
    return loaded


def env_file(path: Path) -> dict[str, str]:
    lines = [line.strip() for line in path.read_text().splitlines()]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def defaults(text: str) -> str:
    """The text as Compose reads it where no variable is set."""
    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", lambda found: found[2] or "", text)


def scripts() -> list[Path]:
    return sorted([*DOCKER.glob("*.sh"), *DEPLOY.glob("*.sh")])
