"""Checks before a start."""

import socket

import pytest

from seedcore.cli.launch.preflight import check_database, claim_port, shown_dsn
from seedcore.errors import SettingsError
from seedcore.settings import load_settings


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://me:secret@host:5433/db?sslmode=require", "postgresql://me:***@host:5433/db"),
        ("postgresql://me@host/db?password=secret", "postgresql://me@host/db"),
        ("postgresql:///db?host=/run/pg", "postgresql:///db"),
        ("postgresql://me:sec/ret@host/db", "postgresql://***"),
        ("postgresql://me:sec?ret@host/db", "postgresql://***"),
        ("postgresql://me:sec@ret@host/db", "postgresql://***"),
    ],
)
def test_a_dsn_is_shown_without_its_password_or_not_at_all(dsn: str, shown: str) -> None:
    assert shown_dsn(dsn) == shown


@pytest.mark.integration
def test_a_wrong_password_is_refused_without_showing_it() -> None:
    with pytest.raises(SettingsError) as refused:
        check_database(load_settings(pg_dsn="postgresql://me:hunter2@127.0.0.1:1/db"))
    assert "SEEDCORE_PG_DSN" in refused.value.detail
    assert "hunter2" not in refused.value.detail


@pytest.mark.integration
def test_a_database_that_answers_is_accepted(postgres_server: str) -> None:
    check_database(load_settings(pg_dsn=postgres_server))


@pytest.mark.integration
def test_a_claimed_port_is_closed_to_the_next_claim_and_open_to_serve() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with claim_port("127.0.0.1", port):
        with pytest.raises(OSError, match="in use"):
            claim_port("127.0.0.1", port)
        with socket.socket() as serve:
            serve.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            serve.bind(("127.0.0.1", port))
            serve.listen()
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
    claim_port("127.0.0.1", port).close()


@pytest.mark.integration
def test_a_port_that_serve_listens_on_cannot_be_claimed() -> None:
    with socket.socket() as serve:
        serve.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        serve.bind(("127.0.0.1", 0))
        serve.listen()
        with pytest.raises(OSError, match="in use"):
            claim_port("127.0.0.1", serve.getsockname()[1])
