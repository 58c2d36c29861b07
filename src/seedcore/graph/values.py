"""Validates names, ids and property values of the graph."""

import json
import re
from collections.abc import Mapping

from seedcore.errors import InvalidInputError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
MAX_ID_CHARS = 256
MAX_PROPERTIES_BYTES = 64 * 1024

Properties = dict[str, object]
"""Values of a node or edge by key."""


def check_name(field: str, name: str) -> None:
    """Check a label, type or key: it becomes part of a statement, so only letters, digits and `_` are allowed."""
    if not NAME.fullmatch(name):
        raise InvalidInputError.for_field(
            field, "must be a letter followed by at most 63 letters, digits or underscores"
        )


def check_id(field: str, value: str) -> None:
    """Check the id of a node."""
    if not 1 <= len(value) <= MAX_ID_CHARS:
        raise InvalidInputError.for_field(field, f"must have from 1 to {MAX_ID_CHARS} characters")


def checked_properties(properties: Mapping[str, object] | None) -> Properties:
    """The properties as a new dict; every value has a type that a Bolt server can store."""
    values = dict(properties or {})
    for key, value in values.items():
        check_name(f"properties.{key}", key)
        if key == "id":
            raise InvalidInputError.for_field("properties.id", "is the node's own id and cannot be set")
        if value is not None and not _is_storable(value):
            raise InvalidInputError.for_field(
                f"properties.{key}",
                "must be text, a number of at most 64 bits, true, false, null, or a list of one of them",
            )
    try:
        size = len(json.dumps(values, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        raise InvalidInputError.for_field("properties", "must be text that is valid Unicode") from None
    if size > MAX_PROPERTIES_BYTES:
        raise InvalidInputError.for_field("properties", f"must not exceed {MAX_PROPERTIES_BYTES} bytes as JSON")
    return values


def _is_storable(value: object) -> bool:
    items = value if isinstance(value, list) else [value]
    kinds = {type(item) for item in items}
    return (
        len(kinds) <= 1
        and kinds <= {str, int, float, bool}
        and all(-(2**63) <= item < 2**63 for item in items if isinstance(item, int))
    )
