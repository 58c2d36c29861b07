"""A certificate that is read again when its files change."""

import ssl
from pathlib import Path
from typing import Final

from seedcore.errors import SettingsError
from seedcore.telemetry.logs import get_logger
from seedcore.utils.tls.contexts import server_context
from seedcore.utils.tls.haproxy_watch import stamp

CHECK_EVERY_S: Final = 2.0
"""How often the files of a certificate are looked at."""


class LiveCertificate:
    """A server's context whose certificate can be replaced; connections that are open keep the old one.

    Args:
        cert: the certificate, PEM.
        key: its key, PEM.

    Raises:
        SettingsError: they cannot be used.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert, self._key = cert, key
        # Before they are read: a change while they are is found at the next look.
        self._taken = stamp([cert, key])
        self._current = server_context(cert, key)
        self.context = server_context(cert, key)
        self.context.sni_callback = self._choose
        self._said = ""

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        # A context that handshakes run on is never loaded again: half a change would leave it without a key.
        connection.context = self._current

    def refresh(self) -> bool:
        """Take the files where they have changed and belong together; whether it did. Call it from one thread."""
        now = stamp([self._cert, self._key])
        if now in (self._taken, ()):
            return False
        log = get_logger("seedcore.tls", certificate=str(self._cert))
        try:
            self._current = server_context(self._cert, self._key)
        except (SettingsError, OSError) as error:
            # One of the two may be written before the other: the next look finds both.
            if self._said != str(error):
                self._said = str(error)
                log.warning("the new certificate cannot be used yet, the old one stays", reason=self._said)
            return False
        self._taken, self._said = now, ""
        log.info("certificate replaced")
        return True
