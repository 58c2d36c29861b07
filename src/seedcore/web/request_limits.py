"""Limits of a request: the size of its body, and the text of its URL."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from starlette.types import Message, Receive, Scope

from seedcore import errors


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """The most bytes of a body, and the setting that says so."""

    size: int
    setting: str


def check_declared_length(headers: Mapping[bytes, bytes], limit: BodyLimit) -> None:
    """Refuse a body by its Content-Length, before it is read.

    Raises:
        TooLargeError: it is over the limit.
    """
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > limit.size:
        raise _too_large(limit)


def limit_body(receive: Receive, limit: BodyLimit) -> Receive:
    """The same channel, which raises TooLargeError once more bytes than the limit have come."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit.size:
            raise _too_large(limit)
        return message

    return counted


def _too_large(limit: BodyLimit) -> errors.TooLargeError:
    return errors.TooLargeError(f"The body is larger than {limit.size} bytes ({limit.setting}).", limit=limit.size)


def check_url_text(scope: Scope) -> None:
    """Refuse a path or query that is not UTF-8 or holds U+0000: no store keeps either.

    Servers decode it with replacement characters, and would look for something else than the client meant.

    Raises:
        InvalidInputError: names the path or the query parameter.
    """
    for where, raw in (("path", scope.get("raw_path") or b""), ("query", scope["query_string"])):
        for part in raw.split(b"&") if b"%" in raw else ():
            if (found := _unfit(part)) is None:
                continue
            name = unquote_to_bytes(part.partition(b"=")[0]).decode(errors="replace").replace("\0", "\ufffd")
            raise errors.InvalidInputError.for_field(where if where == "path" else name, f"must not hold {found}")


def _unfit(part: bytes) -> str | None:
    try:
        return "U+0000" if "\0" in unquote_to_bytes(part).decode() else None
    except UnicodeDecodeError:
        return "bytes that are not UTF-8"
