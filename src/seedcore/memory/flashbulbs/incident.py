"""An incident: what a flashbulb keeps."""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

from seedcore.errors import InvalidInputError, TooLargeError

KIND = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
MAX_PAYLOAD_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Incident:
    """Something worth remembering permanently.

    Attributes:
        kind: what sort of incident, such as `dispatch.lease_expired`.
        salience: importance, from 0 to 1.
        payload: a JSON object.
        created_at: when it happened, with a time zone; stored and returned as UTC.
    """

    kind: str
    salience: float
    payload: dict[str, object]
    id: UUID = field(default_factory=uuid4)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        if not KIND.fullmatch(self.kind):
            raise InvalidInputError.for_field(
                "kind", "must be a lower-case letter and up to 63 of a-z, 0-9, '_', '.', '-'"
            )
        if isinstance(self.salience, bool) or not 0.0 <= self.salience <= 1.0:
            raise InvalidInputError.for_field("salience", "must be from 0 to 1")
        if self.created_at.tzinfo is None:
            raise InvalidInputError.for_field("created_at", "must have a time zone")
        object.__setattr__(self, "created_at", self.created_at.astimezone(UTC))
        _check_payload(self.payload)


def _check_payload(payload: object) -> None:
    """Both databases must accept it: jsonb has no NUL character and no lone surrogate, JSON has no NaN."""
    if not isinstance(payload, dict):
        raise InvalidInputError.for_field("payload", "must be a JSON object")
    try:
        text = json.dumps(payload, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError.for_field("payload", f"must be JSON: {error}") from error
    if "\\u0000" in text.replace("\\\\", ""):
        raise InvalidInputError.for_field("payload", "must not contain the character NUL")
    if size > MAX_PAYLOAD_BYTES:
        raise TooLargeError(f"The payload has {size} bytes, more than the {MAX_PAYLOAD_BYTES} allowed.")
