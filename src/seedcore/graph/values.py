"""What may become part of the graph: names, ids and property values."""

import json
import re
from collections.abc import Mapping
from typing import Any

from seedcore.errors import InvalidInputError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
MAX_ID_CHARS = 256
MAX_PROPERTIES_BYTES = 64 * 1024


def invalid(field: str, message: str) -> InvalidInputError:
    """The error of one wrong field."""
    return InvalidInputError.for_field(field, message)


def check_name(field: str, name: str) -> None:
    """A label, type or key: it becomes part of a statement, so nothing but letters, digits and underscores."""
    if not NAME.fullmatch(name):
        raise invalid(field, "must be a letter followed by at most 63 letters, digits or underscores")


def check_id(field: str, value: str) -> None:
    """The id of a node."""
    if not 1 <= len(value) <= MAX_ID_CHARS:
        raise invalid(field, f"must have from 1 to {MAX_ID_CHARS} characters")


def checked_properties(properties: Mapping[str, Any] | None) -> dict[str, Any]:
    """The properties as a new dict, every value of a type that a Bolt server can store."""
    values = dict(properties or {})
    for key, value in values.items():
        check_name(f"properties.{key}", key)
        if key == "id":
            raise invalid("properties.id", "is the node's own id and cannot be set")
        if value is not None and not _can_be_stored(value):
            raise invalid(
                f"properties.{key}",
                "must be text, a number of at most 64 bits, true, false, null, or a list of one of them",
            )
    try:
        size = len(json.dumps(values, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        raise invalid("properties", "must be text that is valid Unicode") from None
    if size > MAX_PROPERTIES_BYTES:
        raise invalid("properties", f"must not exceed {MAX_PROPERTIES_BYTES} bytes as JSON")
    return values


def _can_be_stored(value: object) -> bool:
    items = value if isinstance(value, list) else [value]
    kinds = {type(item) for item in items}
    return (
        len(kinds) <= 1
        and kinds <= {str, int, float, bool}
        and all(-(2**63) <= item < 2**63 for item in items if isinstance(item, int))
    )
