"""Limits of a request: the size of its body, and the text of its URL."""

from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from starlette.types import Message, Receive, Scope

from seedcore import errors


def check_declared_length(headers: Mapping[bytes, bytes], limit: int) -> None:
    """Refuse a body by its Content-Length, before it is read.

    Raises:
        TooLargeError: it is over `limit` bytes.
    """
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)


def limit_body(receive: Receive, limit: int) -> Receive:
    """The same channel, which raises TooLargeError once more than `limit` bytes have come."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> errors.TooLargeError:
    return errors.TooLargeError(f"The body is larger than {limit} bytes (SEEDCORE_MAX_BATCH_BYTES).", limit=limit)


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
