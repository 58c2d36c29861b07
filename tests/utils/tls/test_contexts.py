"""What SeedCore's own clients hold HTTPS against, and settings that do not fit together."""

import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from seedcore.cli.launch import environment, readiness
from seedcore.errors import SettingsError
from seedcore.settings import Settings, load_settings
from seedcore.utils.tls.contexts import check_certificate, client_context, server_context
from tests.support.certificates import Authority

pytestmark = pytest.mark.integration
Serve = Callable[[Authority], int]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve HTTPS on loopback with the certificate of an authority; the port."""
    servers = []

    def run(authority: Authority) -> int:
        server = HTTPServer(("127.0.0.1", 0), Handler)
        server.socket = server_context(authority.cert, authority.key).wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server.server_port

    yield run
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certs")


def served_by(authority: Authority, port: int, **more: object) -> Settings:
    return load_settings(tls_cert=authority.cert, tls_key=authority.key, http_port=port, **more)


def get(settings: Settings) -> int:
    context = client_context(settings)
    assert context is not None
    return httpx.get(settings.base_url, verify=context).status_code


def test_the_url_is_https_with_a_certificate(authority: Authority):
    settings = served_by(authority, 8123)
    assert settings.base_url == environment.local_url(settings) == "https://127.0.0.1:8123"
    assert load_settings(http_port=8123).base_url == "http://127.0.0.1:8123"
    assert client_context(load_settings()) is None


def test_the_certificate_that_is_served_here_is_believed_here(serve: Serve, authority: Authority):
    assert get(served_by(authority, serve(authority))) == 200


def test_another_one_on_loopback_is_not(serve: Serve, authority: Authority, tmp_path: Path):
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        get(served_by(authority, serve(Authority(tmp_path / "other"))))


def test_with_an_authority_what_it_signed_is_believed_and_nothing_else(
    serve: Serve, authority: Authority, tmp_path: Path
):
    port = serve(authority)
    assert get(load_settings(tls_ca=authority.ca, serve_url=f"https://127.0.0.1:{port}")) == 200
    other = Authority(tmp_path / "other")
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        get(load_settings(tls_ca=other.ca, serve_url=f"https://127.0.0.1:{port}"))


def test_away_from_loopback_the_name_must_be_in_it(authority: Authority):
    away = client_context(load_settings(tls_ca=authority.ca, serve_url="https://seedcore.example"))
    here = client_context(load_settings(tls_ca=authority.ca, serve_url="https://127.0.0.1:1"))
    assert away is not None
    assert here is not None
    assert (away.check_hostname, here.check_hostname) == (True, False)
    assert away.verify_mode is here.verify_mode is ssl.CERT_REQUIRED


def test_the_launcher_s_look_at_health_holds_the_certificate_against_the_same(serve: Serve, authority: Authority):
    url = f"https://127.0.0.1:{serve(authority)}/health"
    assert readiness.probe(url, authority.context) is None
    assert "CERTIFICATE_VERIFY_FAILED" in str(readiness.probe(url))


def test_the_files_of_a_certificate_are_checked_before_anything_starts(authority: Authority, tmp_path: Path):
    check_certificate(served_by(authority, 8000))
    check_certificate(load_settings())
    with pytest.raises(SettingsError, match=r"SEEDCORE_TLS_KEY=.*is not a file that this user can read"):
        check_certificate(load_settings(tls_cert=authority.cert, tls_key=tmp_path / "none"))
    (tmp_path / "text").write_text("no PEM")
    with pytest.raises(SettingsError, match=r"cannot be used .* both must be PEM"):
        check_certificate(load_settings(tls_cert=authority.cert, tls_key=tmp_path / "text"))


def test_ray_s_files_are_all_there_or_none(authority: Authority, monkeypatch: pytest.MonkeyPatch):
    files = {
        "RAY_TLS_SERVER_CERT": str(authority.cert),
        "RAY_TLS_SERVER_KEY": str(authority.key),
        "RAY_TLS_CA_CERT": str(authority.ca),
    }
    for name, value in files.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=r"RAY_TLS_CA_CERT=.* set RAY_USE_TLS=1"):
        load_settings()
    monkeypatch.setenv("RAY_USE_TLS", "0")
    assert load_settings().ray_use_tls is False
    monkeypatch.setenv("RAY_USE_TLS", "1")
    assert load_settings().ray_tls_ca_cert == authority.ca
    for name in files:
        with monkeypatch.context() as without:
            without.delenv(name)
            with pytest.raises(SettingsError, match=rf"{name}=None is not allowed: must name a file .*make-certs"):
                load_settings()
            without.setenv(name, "/no/such/file")
            with pytest.raises(SettingsError, match=rf"{name}='/no/such/file' .*a file that this user can read"):
                load_settings()


def test_the_launcher_s_processes_get_ray_s_certificate(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    given = {
        "RAY_USE_TLS": "1",
        "RAY_TLS_SERVER_CERT": str(authority.cert),
        "RAY_TLS_SERVER_KEY": str(authority.key),
        "RAY_TLS_CA_CERT": str(authority.ca),
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(data_dir=tmp_path, http_mode="proxy")
    child = environment.serve_environment(settings, given, tmp_path)
    assert given.items() <= child.items()
