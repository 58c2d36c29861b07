"""JSON types of fields and values, and whether a value of one type may be used where another is expected."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True, order=True)
class JsonKind:
    """One JSON type by its JSON Schema name, or `any`; `items` is what an array holds, None for anything."""

    name: str
    items: "JsonType | None" = None


JsonType = frozenset[JsonKind]
"""The kinds that a value may have."""

ANY: JsonType = frozenset({JsonKind("any")})


def of_schema(schema: object, definitions: Mapping[str, object], depth: int = 0) -> JsonType:
    """The type that a JSON Schema describes; what it leaves open is `any`."""
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return ANY
    if "$ref" in schema:
        return of_schema(definitions.get(str(schema["$ref"]).rsplit("/", 1)[-1]), definitions, depth + 1)
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return _union(of_schema(part, definitions, depth + 1) for part in schema[keyword])
    if schema.get("allOf"):
        return of_schema(schema["allOf"][0], definitions, depth + 1)
    if "enum" in schema:
        return _union(of_value(value) for value in schema["enum"])
    if "const" in schema:
        return of_value(schema["const"])
    names = schema.get("type")
    if names is None:
        return ANY
    items = of_schema(schema["items"], definitions, depth + 1) if isinstance(schema.get("items"), Mapping) else None
    listed = [names] if isinstance(names, str) else list(names)
    return frozenset(JsonKind(name, items if name == "array" else None) for name in listed)


def of_value(value: object, depth: int = 0) -> JsonType:
    """The type of a JSON value."""
    for python_type, name in (
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (type(None), "null"),
    ):
        if isinstance(value, python_type):
            return frozenset({JsonKind(name)})
    if isinstance(value, list):
        items = None if depth > _MAX_DEPTH else _union(of_value(item, depth + 1) for item in value)
        return frozenset({JsonKind("array", items)})
    return frozenset({JsonKind("object")})


def _union(types: Iterable[JsonType]) -> JsonType:
    found = frozenset(kind for each in types for kind in each)
    return ANY if found >= ANY else found


def fits(given: JsonType, wanted: JsonType) -> bool:
    """Whether every value of type `given` is allowed where `wanted` is expected."""
    return wanted >= ANY or all(any(_kind_fits(g, w) for w in wanted) for g in given)


def _kind_fits(given: JsonKind, wanted: JsonKind) -> bool:
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


def _shown(kind: JsonKind) -> str:
    return f"array of {shown(kind.items)}" if kind.items else kind.name
