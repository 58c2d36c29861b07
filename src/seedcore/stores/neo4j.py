"""The driver of the knowledge graph: the official one for Bolt, to NEO4J_URI or to the embedded server."""

from typing import TYPE_CHECKING

from seedcore.errors import NotConfiguredError, SeedCoreError, UnavailableError
from seedcore.settings import Settings
from seedcore.telemetry.logs import mask

if TYPE_CHECKING:
    from neo4j import AsyncDriver

CONNECT_TIMEOUT_S = 5.0
ACQUIRE_S = 10.0
RETRY_S = 2.0
"""The driver tries again for so long; who waits for the graph longer tries again itself."""
POOL_SIZE = 8


def graph_driver(settings: Settings) -> "AsyncDriver":
    """A driver, not connected yet. Starts the embedded server when no NEO4J_URI is set (blocking).

    A driver belongs to the event loop that uses it first; the caller closes it.
    """
    from neo4j import AsyncGraphDatabase

    uri, auth = bolt_address(settings)
    return AsyncGraphDatabase.driver(
        uri,
        auth=auth,
        connection_timeout=CONNECT_TIMEOUT_S,
        connection_acquisition_timeout=ACQUIRE_S,
        max_connection_pool_size=POOL_SIZE,
        max_transaction_retry_time=RETRY_S,
        # Two writers of one node meet often and briefly; the driver's own first delay is a second.
        initial_retry_delay=0.05,
        user_agent="seedcore",
    )


def graph_database(settings: Settings) -> str | None:
    """The database to use; None is the server's own default."""
    if settings.neo4j_uri is not None:
        return None
    from seedcore.stores.embedded.bolt_server import DATABASE

    return DATABASE


def graph_error(error: Exception) -> SeedCoreError:
    """The driver's error as one of SeedCore's, without secrets."""
    from neo4j.exceptions import AuthError, ConfigurationError

    if isinstance(error, AuthError):
        return NotConfiguredError("The Bolt server refuses NEO4J_USER and NEO4J_PASSWORD.")
    if isinstance(error, ConfigurationError):
        return NotConfiguredError(f"NEO4J_URI cannot be used: {mask(str(error))}")
    return UnavailableError(f"The Bolt server failed: {mask(str(error))[:300]}", retry_after_s=2)


def bolt_address(settings: Settings) -> tuple[str, tuple[str, str]]:
    """The server's URI and credentials; makes sure that the embedded server, when that is used, runs (blocking)."""
    if settings.neo4j_uri is not None:
        return settings.neo4j_uri.get_secret_value(), (settings.neo4j_user, settings.neo4j_password.get_secret_value())
    from seedcore.stores.embedded import embedded_bolt
    from seedcore.stores.embedded.bolt_server import USER, password_file

    uri = embedded_bolt(settings).acquire()
    return uri, (USER, password_file(settings.data_dir).read_text())
