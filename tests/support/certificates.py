"""Certificates for tests, by the script that operators use: an authority, and what it signs."""

import os
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

MAKE_CERTS = Path(__file__).parents[2] / "deploy" / "make-certs.sh"


class Authority:
    """An authority in a folder, with one certificate and key that can be made anew.

    Args:
        folder: where it keeps its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca, self.cert, self.key = folder / "ca.crt", folder / "tls.crt", folder / "tls.key"
        self.renew()

    def renew(self, *names: str) -> None:
        """Make a new certificate, of this machine's addresses and these names."""
        if shutil.which("openssl") is None:
            if os.environ.get("SEEDCORE_REQUIRE_SERVICES") == "1":
                pytest.fail("openssl is required here and missing")
            pytest.skip("openssl is missing")
        subprocess.run([MAKE_CERTS, self.folder, *names], check=True, capture_output=True, timeout=30)

    @property
    def context(self) -> ssl.SSLContext:
        """A client's, which trusts this authority alone."""
        return ssl.create_default_context(cafile=self.ca)

    @property
    def serial(self) -> str:
        """Of the certificate on disk, as `getpeercert` has it."""
        return str(ssl._ssl._test_decode_cert(str(self.cert))["serialNumber"])  # type: ignore[attr-defined]


def served_serial(port: int, context: ssl.SSLContext, host: str = "127.0.0.1") -> str:
    """The serial number of the certificate that a new handshake is shown, and that `context` believes."""
    with (
        socket.create_connection((host, port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        shown = connection.getpeercert()
        assert shown is not None
        return str(shown["serialNumber"])
