"""Checks who can reach what this machine serves: HTTP without API keys, and files with a secret."""

import ipaddress
from contextlib import suppress
from pathlib import Path

from seedcore.errors import SettingsError
from seedcore.settings import Settings

LOOPBACK_NAME = "localhost"
OTHERS = 0o077


def check_exposure(settings: Settings, host: str | None = None) -> None:
    """Check that without API keys, HTTP stays on this machine.

    Args:
        settings: SEEDCORE_API_KEYS, and SEEDCORE_HTTP_HOST when `host` is None.
        host: where HTTP really listens, when something other than the settings decides it.

    Raises:
        SettingsError: the host is not loopback and there are no keys.
    """
    host = settings.http_host if host is None else host
    if settings.api_key_list or is_loopback(host):
        return
    raise SettingsError(
        f"SEEDCORE_HTTP_HOST='{host}' is not allowed without SEEDCORE_API_KEYS: anyone who reaches this "
        "machine could run skills. Set SEEDCORE_API_KEYS, or a loopback address (127.0.0.1, ::1, localhost)."
    )


def is_loopback(host: str) -> bool:
    """True when only this machine can reach `host`."""
    if host == LOOPBACK_NAME:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def ray_token_path(home: Path) -> Path:
    """Where Ray keeps its token when neither RAY_AUTH_TOKEN nor RAY_AUTH_TOKEN_PATH says otherwise."""
    return home / ".ray" / "auth_token"


def make_private(secret: Path) -> None:
    """Let only the owner read a file; Ray writes its token readable for all."""
    # Without the file, or with another user's, there is nothing to protect.
    with suppress(FileNotFoundError, PermissionError):
        if secret.stat().st_mode & OTHERS:
            secret.chmod(0o600)
