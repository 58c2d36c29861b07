"""The header Idempotency-Key, decoded and validated."""

from typing import Annotated

from fastapi import Header
from pydantic import AfterValidator

from seedcore.tasks.submission.task_options import KEY


def decoded_key(value: str | None) -> str | None:
    """The text that the client meant: the framework reads headers as latin-1, clients write UTF-8.

    Raises:
        ValueError: it cannot be a key.
    """
    if value is None:
        return None
    try:
        text = value.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise ValueError("must be UTF-8") from None
    if not KEY.min <= len(text) <= KEY.max or "\0" in text:
        raise ValueError(f"must be {KEY.min} to {KEY.max} characters, none of them U+0000")
    return text


IdempotencyKey = Annotated[str | None, AfterValidator(decoded_key), Header()]
