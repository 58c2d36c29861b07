"""The secrets of stored keys: how they look, how they are made, and what of them is kept."""

import hashlib
import re
import secrets

PREFIX = "sc_"
_RANDOM_BYTES = 32
_FORM = re.compile(rb"sc_[A-Za-z0-9_-]{43}\Z")


def new_secret() -> str:
    """A secret with 256 random bits: `sc_` and 43 characters that need no quoting anywhere."""
    return PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def looks_stored(given: bytes) -> bool:
    """Whether a presented key has the form of a stored one: no other is ever looked up."""
    return _FORM.match(given) is not None


def hash_of(secret: bytes) -> bytes:
    """What is kept of a secret, and by which it is found; it has too many random bits to need a slow hash."""
    return hashlib.sha256(secret).digest()
