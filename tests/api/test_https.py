"""`python -m seedcore.api` over TLS: it speaks nothing else, and takes a new certificate without a restart."""

import contextlib
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.api.test_main import DEADLINE_S, Start, free_port, start
from tests.support.certificates import Authority, served_serial

pytestmark = pytest.mark.integration
__all__ = ["start"]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certs")


def wait_for_https(process: subprocess.Popen[str], port: int, authority: Authority) -> httpx.Client:
    """A client with one connection, open."""
    client = httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=authority.context, timeout=10)
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        try:
            assert client.get("/health").status_code == 200
        except httpx.ConnectError:
            time.sleep(0.05)
        else:
            return client
    raise AssertionError("the gateway did not come up")


def tls(authority: Authority, port: int) -> dict[str, str]:
    return {
        "SEEDCORE_API_PORT": str(port),
        "SEEDCORE_TLS_CERT": str(authority.cert),
        "SEEDCORE_TLS_KEY": str(authority.key),
    }


def test_a_new_certificate_is_shown_without_a_restart_and_open_connections_go_on(start: Start, authority: Authority):
    port = free_port()
    process = start(**tls(authority, port))
    with contextlib.closing(wait_for_https(process, port, authority)) as client:
        old = authority.serial
        assert served_serial(port, authority.context) == old
        (connection,) = client._transport._pool.connections  # type: ignore[attr-defined]
        authority.renew()
        assert authority.serial != old
        deadline = time.monotonic() + 30
        while (shown := served_serial(port, authority.context)) != authority.serial:
            assert shown == old
            assert time.monotonic() < deadline, "the new certificate was not taken"
            assert client.get("/health").status_code == 200
            time.sleep(0.1)
        assert client.get("/health").status_code == 200
        assert client._transport._pool.connections == [connection], "the connection was dropped"  # type: ignore[attr-defined]
    process.terminate()
    _, log = process.communicate(timeout=DEADLINE_S)
    assert "certificate replaced" in log
    assert f"https://127.0.0.1:{port}" in log


def test_half_a_change_leaves_the_old_certificate(start: Start, authority: Authority, tmp_path: Path):
    port = free_port()
    process = start(**tls(authority, port))
    other = Authority(tmp_path / "other")
    with contextlib.closing(wait_for_https(process, port, authority)):
        old = authority.serial
        authority.key.write_bytes(other.key.read_bytes())
        # What the process logs is what it has seen: only then the handshake says anything.
        assert process.stderr is not None
        assert any("cannot be used yet" in line for line in iter(process.stderr.readline, ""))
        assert served_serial(port, authority.context) == old
        authority.cert.write_bytes(other.cert.read_bytes())
        assert any("certificate replaced" in line for line in iter(process.stderr.readline, ""))
        assert served_serial(port, other.context) == other.serial


def test_plain_http_is_not_answered(start: Start, authority: Authority):
    port = free_port()
    wait_for_https(start(**tls(authority, port)), port, authority).close()
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{port}/health")


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("SEEDCORE_TLS_KEY", "SEEDCORE_TLS_KEY=None is not allowed: must be set together with SEEDCORE_TLS_CERT"),
        ("key file", "is not a file that this user can read"),
        ("fitting key", "cannot be used"),
    ],
)
def test_a_certificate_that_cannot_be_used_ends_it_with_2(
    start: Start, authority: Authority, tmp_path: Path, missing: str, told: str
):
    variables = tls(authority, free_port())
    if missing == "key file":
        authority.key.unlink()
    elif missing == "fitting key":
        authority.key.write_bytes(Authority(tmp_path / "other").key.read_bytes())
    else:
        del variables[missing]
    process = start(**variables)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert told in said
    assert "Traceback" not in said
