"""Request bodies that cannot be read: finds the reason, before and after parsing."""

import sys
from collections.abc import Mapping
from email.message import Message

from seedcore.errors import MalformedError, SeedCoreError, UnsupportedMediaTypeError


def check_content_type(headers: Mapping[bytes, bytes]) -> None:
    """Check that the headers of a request whose route takes JSON announce JSON; without a body anything goes.

    Raises:
        UnsupportedMediaTypeError: the body is compressed, is not JSON, or has no Content-Type.
    """
    if headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers:
        return
    encoding = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMediaTypeError(
            f"The body is encoded as {encoding[:50]!r}: send it uncompressed, without Content-Encoding.",
            accept_encoding="identity",
        )
    given = headers.get(b"content-type", b"").decode("latin-1")
    if not _is_json(given):
        what = f"The body is sent as {given[:100]!r}" if given else "The body has no Content-Type"
        raise UnsupportedMediaTypeError(f"{what}: send JSON with `Content-Type: application/json`.")


def _is_json(content_type: str) -> bool:
    message = Message()
    message["content-type"] = content_type
    subtype = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))


def body_error(error: BaseException | None) -> SeedCoreError | None:
    """The error to answer when reading the body raised `error`; None when the reason is unknown."""
    if isinstance(error, SeedCoreError):
        return error
    if isinstance(error, UnicodeDecodeError):
        return MalformedError(f"The body is not valid UTF-8: {error.reason} at byte {error.start}.")
    if isinstance(error, RecursionError):
        return MalformedError("The body is nested too deeply to be read as JSON: send a flatter document.")
    if isinstance(error, ValueError) and "integer string conversion" in str(error):
        limit = sys.get_int_max_str_digits()
        return MalformedError(f"The body holds an integer of more than {limit} digits: send it as text.")
    return None
