"""Every name that the documentation gives to a reader is there: files, targets, commands, settings, paths, codes."""

import importlib
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI
from typer.main import get_command

from seedcore import errors
from seedcore.api.app import build_app
from seedcore.cli.main import app
from seedcore.organism.service import OrganismService
from seedcore.settings import Settings, env_names, load_settings
from seedcore.web.service_base import ServiceBase
from tests.organism.fake_hosts import Pool

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = ("src", "entrypoints", "bootstraps", "docker", "deploy", "serve_config", "benchmarks", "examples")
TEXT = {".py", ".sql", ".yaml", ".yml", ".sh", ".md", ".toml", ".tpl", ".env", ".cfg", "", ".example"}
# Made by the first start, not part of the repository.
MADE = {"docker/.env", "docker/certs"}
# Variables and a state of other programs.
FOREIGN = {"OPENBLAS_NUM_THREADS", "DEPLOY_FAILED", "RAY_ENV_HOOK", "SSL_CERT_FILE"}
METHODS = "GET|POST|PUT|DELETE|PATCH"
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def spans(page: Path) -> list[str]:
    """What stands in backquotes, and each line of a block."""
    text = page.read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [*inline, *(line for block in blocks for line in block.splitlines())]


def found(pattern: str, page: Path) -> list[str]:
    """The group of the pattern in every span."""
    return [match[1] for span in spans(page) for match in re.finditer(pattern, span)]


@cache
def code() -> str:
    """All of the repository that runs, as one text."""
    files = [path for folder in CODE for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix in TEXT]
    return "\n".join(path.read_text(errors="replace") for path in [*files, ROOT / "Makefile", ROOT / "pyproject.toml"])


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), link


@each_page
def test_files_are_there(page: Path) -> None:
    for path in found(rf"(?<![\w/.-])(?<!exec )((?:{'|'.join(CODE)}|docs|tests)/[\w./-]*\w)", page):
        # The tables of docs/operations name tests by their place in tests/.
        assert path in MADE or (ROOT / path).exists() or (ROOT / "tests" / path).exists(), path


def test_pages_that_files_name_are_there() -> None:
    files = [path for folder in (*CODE, "tests", "docs") for path in (ROOT / folder).rglob("*") if path.suffix in TEXT]
    for file in files:
        if file.is_file():
            for page in re.findall(r"\bdocs/[\w/.-]+\.md", file.read_text(errors="replace")):
                assert (ROOT / page).exists(), f"{file.relative_to(ROOT)}: {page}"


@each_page
def test_make_has_the_targets(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(found(r"(?:^|\s)make ([a-z][a-z-]*)", page)) <= targets


@each_page
def test_the_command_line_has_the_commands(page: Path) -> None:
    for words in found(r"(?:^|[\s/])(?<!-p )seedcore ((?:[a-z]+ ?)+)(?=$|[\s.`-]|[A-Z/])", page):
        assert known_command(words.split()), words


def known_command(words: list[str]) -> bool:
    """Whether the words begin with a command, or a command of a group."""
    commands = get_command(app).commands  # type: ignore[attr-defined]
    if words[0] not in commands:
        return False
    inner = getattr(commands[words[0]], "commands", None)
    return inner is None or len(words) == 1 or words[1] in inner


@each_page
def test_modules_that_are_run_are_there(page: Path) -> None:
    for module in set(found(r"python3? -m ([a-z][\w.]*)", page)) - {"venv", "pip"}:
        assert importlib.util.find_spec(module) is not None, module


@each_page
def test_variables_are_settings_or_read_somewhere(page: Path) -> None:
    known = {name for field in Settings.model_fields for name in env_names(field)}
    for variable in found(r"(?<![\w$-])([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+)(?![\w(])", page):
        assert variable in known | FOREIGN or re.search(rf"\b{variable}\b", code()), variable


def codes() -> set[str]:
    """Every code of an error, and every code that a task's failure carries."""
    return set(errors.known_errors()) | set(re.findall(r"""["']([a-z]+(?:_[a-z]+)+)["']""", code()))


@each_page
def test_codes_are_given_by_the_code(page: Path) -> None:
    text = page.read_text()
    named = re.findall(r"\bcodes? `([a-z_]+)`", text) + re.findall(r"\b[45]\d\d `([a-z_]+)`", text)
    assert set(named) <= codes()


@cache
def routes() -> frozenset[tuple[str, tuple[str, ...]]]:
    """`(method, segments)` of every route of the seven applications; a parameter's segment is `{}`."""
    return frozenset(
        (method.upper(), tuple(re.sub(r"\{[^}]*\}", "{}", f"{prefix}{path}").strip("/").split("/")))
        for prefix, application in applications()
        for path, methods in application.openapi()["paths"].items()
        for method in methods
    )


def applications() -> Iterator[tuple[str, FastAPI]]:
    """Each application, under its prefix."""
    settings = load_settings(http_host="127.0.0.1")
    yield "", build_app(settings)
    rooms = {"/ml": "ml", "/cognitive": "cognitive", "/pipeline": "coordinator"}
    for prefix in (entry["route_prefix"] for entry in served() if entry["name"] != "gateway"):
        room = importlib.import_module(f"seedcore.{rooms.get(prefix, prefix[1:])}.service")
        (service,) = [kind for kind in vars(room).values() if is_service(kind)]
        needed = {"provisioner": Pool} if service is OrganismService else {}
        yield prefix, service({}, settings, **needed).build_app()


def served() -> list[dict[str, Any]]:
    """The applications of serve_config/prod.yaml."""
    return list(yaml.safe_load((ROOT / "serve_config" / "prod.yaml").read_text())["applications"])


def is_service(kind: object) -> bool:
    """Whether it is a room's service."""
    return isinstance(kind, type) and issubclass(kind, ServiceBase) and kind is not ServiceBase


@each_page
def test_http_paths_are_routes(page: Path) -> None:
    for method, path in re.findall(rf"\b({METHODS})(?:\|(?:{METHODS}))* (/[\w/{{}}.,|-]*)", " \n".join(spans(page))):
        for one in alternatives(path):
            assert one == "/" or any(fits(one, method, *route) for route in routes()), f"{method} {one}"


def alternatives(path: str) -> list[str]:
    """`/tasks/{id}/{cancel,retry}` means two paths."""
    match = re.search(r"\{([\w-]+(?:[,|][\w-]+)+)\}", path)
    if match is None:
        return [path.rstrip(".,")]
    return [one for word in re.split("[,|]", match[1]) for one in alternatives(path.replace(match[0], word))]


def fits(path: str, method: str, wanted: str, segments: tuple[str, ...]) -> bool:
    """Whether a path as the documentation writes it is a route's, its parameters in braces or as an example."""
    given = path.strip("/").split("/")
    return (
        method == wanted
        and len(given) == len(segments)
        and all(theirs in ("{}", ours) for ours, theirs in zip(given, segments, strict=True))
    )
