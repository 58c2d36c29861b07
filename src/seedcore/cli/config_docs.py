"""docs/configuration.md, made from the settings class, so that the two cannot disagree."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from seedcore.settings import SECRET_FIELDS, Settings, env_names

INTRODUCTION = """\
# Configuration

Every setting is an environment variable; nothing else configures SeedCore. They are read once, when a process
starts: a value that is not allowed ends it with exit status 2 and a line that names the variable, its value and
what is allowed. An empty variable counts as unset. Where two names stand in a row, the first one wins. Secrets
never reach a log, a status or an error.

`seedcore config check` shows what holds in an environment. This page is generated: `make docs` writes it anew.
"""
_BOUNDS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}", "min_length": "{} characters or more"}
_KINDS = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text", Path: "path", SecretStr: "text"}
_SECTION = re.compile(r"# -- (?P<title>[^-]+?) -+$")


def configuration_page() -> str:
    """The whole page, as Markdown."""
    parts = [INTRODUCTION]
    for title, names in _sections():
        rows = "\n".join(_row(name, Settings.model_fields[name]) for name in names)
        heading = title if title.isupper() else title[0].upper() + title[1:]
        parts.append(f"## {heading}\n\n| variable | default | allowed | meaning |\n|---|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def _sections() -> Iterator[tuple[str, list[str]]]:
    """The fields under the section comments of the class, in its order."""
    source = inspect.getsource(Settings)
    titles = [(n, m["title"]) for n, line in enumerate(source.splitlines(), 1) if (m := _SECTION.search(line))]
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    lines = {
        node.target.id: node.lineno
        for node in body.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    ends = [number for number, _ in titles[1:]] + [len(source.splitlines()) + 1]
    for (start, title), end in zip(titles, ends, strict=True):
        yield title, [name for name in Settings.model_fields if start < lines[name] < end]


def _row(name: str, field: FieldInfo) -> str:
    variables = ", ".join(f"`{variable}`" for variable in env_names(name))
    meaning = field.description or ""
    if name in SECRET_FIELDS:
        meaning += " (secret)"
    cells = (variables, _default(field), _allowed(field), meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "see the meaning"
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    if value is None or value == "":
        return "unset"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _allowed(field: FieldInfo) -> str:
    kinds = [kind for kind in _alternatives(field.annotation) if kind is not NoneType]
    bounds = [text.format(f"{value:,}".replace(",", " ") if isinstance(value, int) else value)
              for item in field.metadata for key, text in _BOUNDS.items()
              if (value := getattr(item, key, None)) is not None]  # fmt: skip
    return ", ".join([*(_kind(kind) for kind in kinds), *bounds])


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _kind(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    return _KINDS[kind]
