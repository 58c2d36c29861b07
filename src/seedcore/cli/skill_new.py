"""`seedcore skill new NAME`: writes the start of a package with a skill."""

import keyword
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from string import Template

from seedcore.errors import InvalidInputError
from seedcore.skills.skill_decorator import RESERVED

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_MAX_NAME = 60

_PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "$project"
version = "0.1.0"
description = "The skill $name for SeedCore"
requires-python = ">=3.11"
dependencies = ["seedcore"]

# SeedCore loads what it finds here: nothing else needs to know that this package is installed.
[project.entry-points."seedcore.skills"]
$package = "$package"

[tool.hatch.build.targets.wheel]
packages = ["src/$package"]

[tool.pytest.ini_options]
pythonpath = ["src"]

[tool.ruff]
line-length = 120

[tool.mypy]
strict = true
mypy_path = "src"
"""

_SKILL = '''\
"""The skill $name."""

from pydantic import BaseModel, Field
from seedcore.skills import SkillContext, skill

__all__ = ["$function"]


class Params(BaseModel):
    """What a task gives."""

    text: str = Field(max_length=10_000)


class Result(BaseModel):
    """What it gets."""

    words: int


@skill("$name", timeout_s=10)
async def $function(params: Params, context: SkillContext) -> Result:
    """Count words."""
    return Result(words=len(params.text.split()))
'''

_TEST = """\
import pytest
from pydantic import ValidationError
from seedcore.skills.testing import run_skill

from $package import $function


def test_words_are_counted() -> None:
    assert run_skill($function, {"text": "two words"}) == {"words": 2}
    assert run_skill($function, {"text": ""}) == {"words": 0}


def test_params_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValidationError):
        run_skill($function, {"txt": "two words"})
"""

_README = """\
# $project

The skill `$name` for SeedCore, in `src/$package/__init__.py`.

```
python -m pytest                 # test it; needs seedcore and pytest
pip install .                    # into the environment that SeedCore runs in
seedcore run                     # loads every installed skill; restart it after a new version
curl -s localhost:8000/pipeline/route-and-execute -H 'content-type: application/json' \\
     -d '{"type": "$name", "params": {"text": "two words"}}'
```
"""

_FILES = {
    "pyproject.toml": _PYPROJECT,
    "README.md": _README,
    "src/$package/__init__.py": _SKILL,
    "src/$package/py.typed": "",
    "tests/test_skill.py": _TEST,
}


def write_package(name: str, folder: Path) -> Path:
    """Write the package of the skill `name` into a new folder below `folder`; returns that.

    Raises:
        InvalidInputError: the name cannot be a skill's and a package's, or the folder is there already.
    """
    package = _package_of(name)
    target = folder / package.replace("_", "-")
    words = {
        "name": name,
        "package": package,
        "project": target.name,
        "function": f"{last}_skill" if (last := name.rpartition(".")[2]) == package else last,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Of two that write at once, only one makes the folder.
        target.mkdir()
        for path, text in _FILES.items():
            file = target / Template(path).substitute(words)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(Template(text).substitute(words), encoding="utf-8")
    except FileExistsError:
        raise InvalidInputError.for_field("--dir", f"{target} is there already: choose another name or --dir") from None
    except OSError as error:
        raise InvalidInputError.for_field("--dir", f"{target} cannot be written ({error.strerror})") from None
    return target


def _package_of(name: str) -> str:
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
        raise InvalidInputError.for_field(
            "NAME",
            f"{name!r} must be lower-case words of letters, digits and '_', joined by dots, such as acme.greet, "
            f"with {_MAX_NAME} characters at most",
        )
    for part in name.split("."):
        if keyword.iskeyword(part):
            raise InvalidInputError.for_field("NAME", f"{name!r}: {part!r} is a keyword of Python; choose another name")
    package = name.replace(".", "_")
    if name == RESERVED or package in sys.stdlib_module_names or find_spec(package) is not None:
        raise InvalidInputError.for_field("NAME", f"{name!r} is taken: put your own name in front, such as acme.{name}")
    return package
