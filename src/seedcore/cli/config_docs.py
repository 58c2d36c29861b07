"""Generates docs/configuration.md from the groups of settings, so that the two cannot disagree."""

from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from seedcore.settings import GROUPS, SECRET_FIELDS, env_names

INTRODUCTION = """\
# Configuration

Every setting is an environment variable; nothing else configures SeedCore. They are read once, when a process
starts: a value that is not allowed ends it with exit status 2 and a line that names the variable, its value and
what is allowed. An empty variable counts as unset. Where two names stand in a row, the first one wins. Secrets
never reach a log, a status or an error.

`seedcore config check` shows what holds in an environment. This page is generated: `make docs` writes it.
"""
_BOUNDS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}", "min_length": "{} characters or more"}
_KINDS = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text", Path: "path", SecretStr: "text"}


def configuration_page() -> str:
    """The whole page, as Markdown."""
    parts = [INTRODUCTION]
    for group in GROUPS:
        rows = "\n".join(_row(name, field) for name, field in group.model_fields.items())
        parts.append(f"## {group.title}\n\n| variable | default | allowed | meaning |\n|---|---|---|---|\n{rows}\n")
    return "\n".join(parts)


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


def _alternatives(annotation: object) -> tuple[object, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _kind(kind: object) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if get_origin(kind) is dict:
        return "JSON"
    assert isinstance(kind, type)
    return _KINDS[kind]
