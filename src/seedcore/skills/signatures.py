"""Signatures of skills: the input and output fields with their JSON types, as the planner needs them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from seedcore.skills import SkillSpec, jsontypes
from seedcore.skills.jsontypes import JsonType
from seedcore.skills.skill_decorator import CheckTime


@dataclass(frozen=True, slots=True)
class Param:
    """One input field."""

    type: JsonType
    required: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """A skill's input and output fields by name; `cost` is what a plan pays for a step with it.

    `checks` names the skill that it checks, `when` (`before` or `after`) that runs. `asks`: a person approves it.
    """

    name: str
    params: Mapping[str, Param]
    results: Mapping[str, JsonType]
    cost: float = 1.0
    checks: str | None = None
    when: CheckTime = "before"
    asks: bool = False


def signature(spec: SkillSpec) -> Signature:
    """The signature by the skill's pydantic models."""
    schema = spec.params.model_json_schema(mode="validation")
    required = set(schema.get("required", ()))
    params = {name: Param(kind, name in required) for name, kind in _fields(schema).items()}
    results = _fields(spec.result.model_json_schema(mode="serialization"))
    return Signature(spec.name, params, results, checks=spec.checks, when=spec.when, asks=spec.approval)


def signatures(specs: Iterable[SkillSpec]) -> dict[str, Signature]:
    """The signatures by the skill's name, of those that a plan may have as steps: not of the platform's."""
    return {spec.name: signature(spec) for spec in specs if not spec.platform}


def _fields(schema: Mapping[str, Any]) -> dict[str, JsonType]:
    definitions = schema.get("$defs", {})
    return {name: jsontypes.of_schema(field, definitions) for name, field in schema.get("properties", {}).items()}
