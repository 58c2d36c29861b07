"""Certificates of HTTP: checked at a start, and what clients hold them against."""

import os
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from seedcore.errors import SettingsError
from seedcore.settings import Settings
from seedcore.utils.exposure import is_loopback


def check_certificate(settings: Settings) -> None:
    """Check that the files of HTTP's certificate can be used.

    Raises:
        SettingsError: one cannot be read, or they do not belong together.
    """
    if settings.tls_cert is not None and settings.tls_key is not None:
        server_context(settings.tls_cert, settings.tls_key)


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """A server's context with this certificate: TLS 1.2 or newer.

    Raises:
        SettingsError: a file cannot be read, or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for name, path in (("SEEDCORE_TLS_CERT", cert), ("SEEDCORE_TLS_KEY", key)):
        if not (path.is_file() and os.access(path, os.R_OK)):
            raise SettingsError(
                f"{name}={str(path)!r} is not a file that this user can read: correct the path or mode."
            )
    try:
        # A password would be asked for at the terminal.
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        raise SettingsError(
            f"SEEDCORE_TLS_CERT={str(cert)!r} and SEEDCORE_TLS_KEY={str(key)!r} cannot be used "
            f"({error.reason or 'not PEM'}): both must be PEM, the key without a password and that of the first "
            "certificate."
        ) from None
    return context


def client_context(settings: Settings) -> ssl.SSLContext | None:
    """What SeedCore's own clients hold `settings.base_url` against; None where it is plain HTTP.

    The name in the certificate is not asked for on loopback: nothing but this machine answers there, and a
    certificate for the public name has no 127.0.0.1 in it. What signed it is held against the authorities all the same.
    """
    url = urlsplit(settings.base_url)
    if url.scheme != "https":
        return None
    return trusting(settings, loopback=is_loopback(url.hostname or ""))


def trusting(settings: Settings, *, loopback: bool) -> ssl.SSLContext:
    """A client's context: SEEDCORE_TLS_CA or the system's authorities, and the certificate that is served here."""
    context = ssl.create_default_context(cafile=None if settings.tls_ca is None else str(settings.tls_ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if loopback:
        context.check_hostname = False
        if settings.tls_cert is not None and settings.tls_ca is None:
            # Its own certificate, whoever signed it.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.load_verify_locations(settings.tls_cert)
    return context
