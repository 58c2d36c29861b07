"""The MySQL engine of a process: SQLAlchemy on mysql-connector-python."""

from typing import TYPE_CHECKING, Any

from seedcore.errors import NotConfiguredError
from seedcore.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

CONNECT_TIMEOUT_S = 5
ANSWER_TIMEOUT_S = 5
"""Longest wait for an answer to one statement."""
POOL_SIZE = 2


def mysql_engine(settings: Settings, *, answer_timeout_s: int = ANSWER_TIMEOUT_S) -> "Engine":
    """An engine for SEEDCORE_MYSQL_DSN, not connected yet; the caller disposes of it.

    No statement waits for an answer longer than `answer_timeout_s` seconds.

    With an option of TLS in the DSN (`ssl_ca`, …) no connection is used that is plain, and with `ssl_ca` the server's
    certificate is held against it: the driver by itself does neither.

    Raises:
        NotConfiguredError: SEEDCORE_MYSQL_DSN is not set.
    """
    if settings.mysql_dsn is None:
        raise NotConfiguredError("This needs MySQL; set SEEDCORE_MYSQL_DSN (mysql+mysqlconnector://…).")
    from sqlalchemy import create_engine, event, make_url

    url = make_url(settings.mysql_dsn.get_secret_value())
    engine = create_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,
        connect_args={
            "connection_timeout": CONNECT_TIMEOUT_S,
            "read_timeout": answer_timeout_s,
            "write_timeout": answer_timeout_s,
            "charset": "utf8mb4",
            # The driver's own default is a collation that MariaDB does not have.
            "collation": "utf8mb4_general_ci",
            # Times are written and read as UTC, whatever zone the server is in.
            "time_zone": "+00:00",
            **_verified(url),
        },
    )
    if _demands_tls(url):
        event.listen(engine, "connect", _refuse_plain)
    return engine


def _demands_tls(url: "URL") -> bool:
    return any(name.startswith("ssl_") and name != "ssl_disabled" for name in url.query)


def _verified(url: "URL") -> dict[str, bool]:
    """Without this, the driver takes `ssl_ca` and verifies nothing."""
    return {"ssl_verify_cert": True} if "ssl_ca" in url.query and "ssl_verify_cert" not in url.query else {}


def _refuse_plain(connection: Any, _record: object) -> None:
    from mysql.connector.errors import OperationalError

    cursor = connection.cursor()
    cursor.execute("show session status like 'Ssl_cipher'")
    row = cursor.fetchone()
    cursor.close()
    if not row or not row[1]:
        connection.close()
        raise OperationalError("the DSN demands TLS, and the server offered a plain connection")
