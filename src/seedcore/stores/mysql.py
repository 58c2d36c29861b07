"""The MySQL engine of a process: SQLAlchemy on mysql-connector-python."""

from typing import TYPE_CHECKING

from seedcore.errors import NotConfiguredError
from seedcore.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

CONNECT_TIMEOUT_S = 5
POOL_SIZE = 2


def mysql_engine(settings: Settings) -> "Engine":
    """An engine for SEEDCORE_MYSQL_DSN, not connected yet; the caller disposes of it.

    Raises:
        NotConfiguredError: SEEDCORE_MYSQL_DSN is not set.
    """
    if settings.mysql_dsn is None:
        raise NotConfiguredError("This needs MySQL; set SEEDCORE_MYSQL_DSN (mysql+mysqlconnector://…).")
    from sqlalchemy import create_engine

    return create_engine(
        settings.mysql_dsn.get_secret_value(),
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,
        connect_args={
            "connection_timeout": CONNECT_TIMEOUT_S,
            "charset": "utf8mb4",
            # The driver's own default is a collation that MariaDB does not have.
            "collation": "utf8mb4_general_ci",
            # Times are written and read as UTC, whatever zone the server is in.
            "time_zone": "+00:00",
        },
    )
