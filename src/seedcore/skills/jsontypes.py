"""The JSON types of fields and values, and whether one fits where another is wanted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_DEEPEST = 8


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """One JSON type by its JSON Schema name, or `any`; `items` is what an array holds, None for anything."""

    name: str
    items: "JsonType | None" = None


JsonType = frozenset[Kind]
"""The kinds that a value may have."""

ANY: JsonType = frozenset({Kind("any")})


def of_schema(schema: Any, definitions: Mapping[str, Any], depth: int = 0) -> JsonType:
    """The type that a JSON Schema describes; what it leaves open is `any`."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return ANY
    if "$ref" in schema:
        return of_schema(definitions.get(str(schema["$ref"]).rsplit("/", 1)[-1]), definitions, depth + 1)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return _union(of_schema(part, definitions, depth + 1) for part in schema[word])
    if schema.get("allOf"):
        return of_schema(schema["allOf"][0], definitions, depth + 1)
    if "enum" in schema:
        return _union(of_value(value) for value in schema["enum"])
    if "const" in schema:
        return of_value(schema["const"])
    names = schema.get("type")
    if names is None:
        return ANY
    inside = of_schema(schema["items"], definitions, depth + 1) if isinstance(schema.get("items"), Mapping) else None
    given = [names] if isinstance(names, str) else list(names)
    return frozenset(Kind(name, inside if name == "array" else None) for name in given)


def of_value(value: Any, depth: int = 0) -> JsonType:
    """The type of a JSON value."""
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (type(None), "null")):
        if isinstance(value, kind):
            return frozenset({Kind(name)})
    if isinstance(value, list):
        inside = None if depth > _DEEPEST else _union(of_value(item, depth + 1) for item in value)
        return frozenset({Kind("array", inside)})
    return frozenset({Kind("object")})


def _union(types: Iterable[JsonType]) -> JsonType:
    found = frozenset(kind for each in types for kind in each)
    return ANY if found >= ANY else found


def fits(given: JsonType, wanted: JsonType) -> bool:
    """Whether every value of type `given` is allowed where `wanted` is wanted."""
    return wanted >= ANY or all(any(_kind_fits(g, w) for w in wanted) for g in given)


def _kind_fits(given: Kind, wanted: Kind) -> bool:
    if (given.name, wanted.name) == ("integer", "number"):
        return True
    if given.name != wanted.name or given.name == "any":
        return False
    if wanted.items is None or wanted.items >= ANY:
        return True
    return given.items is not None and fits(given.items, wanted.items)


def shown(kind: JsonType) -> str:
    """The type in words."""
    return " or ".join(sorted(_shown(k) for k in kind)) or "nothing"


def _shown(kind: Kind) -> str:
    return f"array of {shown(kind.items)}" if kind.items else kind.name
