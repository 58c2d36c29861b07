"""Rules about the whole tree that no linter here knows."""

import ast
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
SOURCES = sorted(p for folder in ("src", "entrypoints", "bootstraps") for p in (ROOT / folder).rglob("*.py"))
RAY_LAYER = ROOT / "src/seedcore/utils/ray_utils.py"
SETTINGS = ROOT / "src/seedcore/settings"


def calls(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def environment_reads(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        text = ast.unparse(node) if isinstance(node, ast.Subscript | ast.Call) else ""
        writes = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del)
        if text.startswith(("os.environ[", "os.environ.get(", "os.getenv(")) and not writes:
            yield text


def offenders(found: dict[Path, object]) -> dict[str, object]:
    return {str(path.relative_to(ROOT)): what for path, what in found.items() if what}


def test_only_the_connection_layer_calls_ray_init() -> None:
    assert offenders({p: "ray.init" in set(calls(p)) for p in SOURCES}) == {str(RAY_LAYER.relative_to(ROOT)): True}


def test_nothing_but_the_settings_reads_the_environment() -> None:
    assert offenders({p: list(environment_reads(p)) for p in SOURCES if SETTINGS not in p.parents}) == {}


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = dict(line.split("==") for line in lines)
    assert len(found) == len(lines)
    return {canonicalize_name(name): Version(version) for name, version in found.items()}


def test_constraints_are_names_and_versions_alone() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        requirement = Requirement(line)
        assert (requirement.url, requirement.marker, requirement.extras) == (None, None, set())


def test_constraints_satisfy_every_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    declared += [r for extra in project["project"]["optional-dependencies"].values() for r in extra]
    for requirement in map(Requirement, declared):
        assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)]), requirement


def test_constraints_pin_what_the_dependencies_need_in_turn() -> None:
    missing, pinned = set(), pins()
    todo, seen = ["seedcore"], set()
    while todo:
        name = todo.pop()
        for requirement in map(Requirement, requires(name) or []):
            wanted = canonicalize_name(requirement.name)
            extras = ["", *({"seedcore": ["demo", "test", "dev"]}.get(name, []))]
            if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
                continue
            if wanted not in pinned:
                missing.add(f"{wanted} (for {name})")
            elif wanted not in seen:
                seen.add(wanted)
                todo.append(wanted)
    assert not missing
