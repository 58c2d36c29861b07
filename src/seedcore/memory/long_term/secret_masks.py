"""Takes secrets out of what is remembered: a memory is read by many, and for longer than a log line."""

import re

from seedcore.telemetry.logs import mask

HIDDEN = "***"

# Each takes time linear in the text, because what tasks hold may be made to be slow.
_NAMED = re.compile(
    r"((?:password|passwd|pwd|secret|api[_-]?key|(?:access|auth|refresh|bearer)[_-]?token|private[_-]?key"
    r"|authorization|credential)s?[\"']?\s{0,4}(?::|=|\bis\b)\s{0,4}[\"']?)[^\s\"',;}]+",
    re.IGNORECASE,
)
_SHAPED = re.compile(
    r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}|\bsk_(?:live|test)_[A-Za-z0-9]{8,}|\bgh[pousr]_[A-Za-z0-9]{16,}"
    r"|\bxox[abprs]-[A-Za-z0-9-]{8,}|\bA(?:K|S)IA[A-Z0-9]{12,}|\bglpat-[A-Za-z0-9_-]{12,}|\bsc_[A-Za-z0-9_-]{24,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"
)
_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----")
_PEM_END = re.compile(r"-----END [A-Z ]{0,40}PRIVATE KEY-----")
_SECRET_NAME = re.compile(
    r"passw|pwd|secret|(?:access|auth|bearer|refresh)[_-]?token|api[_-]?key|authorization|credential|private[_-]?key|\bdsn\b",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """The text, with `***` where it looks like a password, a key or a token."""
    text = _without_private_keys(mask(text))
    return _SHAPED.sub(HIDDEN, _NAMED.sub(rf"\1{HIDDEN}", text))


def json_without_secrets(value: object) -> object:
    """A copy of a JSON value: texts without secrets, and `***` for what a secret's name stands before."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {key: HIDDEN if _SECRET_NAME.search(key) else json_without_secrets(item) for key, item in value.items()}
    if isinstance(value, list):
        return [json_without_secrets(item) for item in value]
    return value


def _without_private_keys(text: str) -> str:
    parts, at = [], 0
    while (begin := _PEM_BEGIN.search(text, at)) is not None:
        end = _PEM_END.search(text, begin.end())
        parts += [text[at : begin.start()], HIDDEN]
        at = len(text) if end is None else end.end()
    return text if not parts else "".join([*parts, text[at:]])
