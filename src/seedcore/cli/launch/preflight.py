"""Checks before a start: each names the setting that is wrong, and the fix."""

import asyncio
import errno
import re
import socket
import ssl

from seedcore.errors import SettingsError
from seedcore.settings import Settings
from seedcore.stores.embedded.llama_files import missing_llama

DATABASE_TIMEOUT_S = 5.0
_CLEAR_DSN = re.compile(
    r"(?P<scheme>\w+://)(?:(?P<user>[^:@/?#]+)(?P<password>:[^:@/?#]*)?(?=@))?(?P<place>@?[^@?#]*)(?:\?[^@]*)?$"
)


def claim_port(host: str, port: int) -> socket.socket:
    """Bind the port for as long as the socket lives, so that only Serve can listen there beside it.

    Serve listens with SO_REUSEPORT: the kernel lets two of them have the same port, and spreads requests over both.

    Raises:
        OSError: it is taken, or this machine has no such address.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    claim = socket.socket(family, kind, protocol)
    try:
        # For the moment of binding: a connection that is still closing does not keep the port, a listener does.
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        claim.bind(address)
        # From now on only a process gets it that, as Serve does, says that the port is shared.
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError:
        claim.close()
        raise
    return claim


def explain_port(settings: Settings, problem: OSError) -> SettingsError:
    """Why HTTP cannot listen where the settings say, and the fix."""
    port = f"SEEDCORE_HTTP_PORT={settings.http_port}"
    if problem.errno == errno.EADDRINUSE:
        return SettingsError(f"{port} is in use on {settings.http_host}: stop what listens there, or set another port.")
    if problem.errno in (errno.EACCES, errno.EPERM):
        return SettingsError(f"{port} is not allowed for this user: set a port of 1024 or higher.")
    return SettingsError(
        f"SEEDCORE_HTTP_HOST='{settings.http_host}' is not an address of this machine ({problem.strerror}): "
        "set one that is, such as 127.0.0.1."
    )


def check_database(settings: Settings) -> None:
    """Check that the configured PostgreSQL accepts SeedCore; the embedded one is started later.

    Raises:
        SettingsError: it refuses; the password is masked.
    """
    if settings.pg_dsn is None:
        return
    dsn = settings.pg_dsn.get_secret_value()
    reason = asyncio.run(_refusal(dsn))
    if reason is not None:
        raise SettingsError(
            f"SEEDCORE_PG_DSN={shown_dsn(dsn)} does not work: {reason}. Set it to a PostgreSQL that accepts "
            "connections, or unset it for the embedded one."
        )


def check_llm(settings: Settings) -> None:
    """Check that the embedded language model, when it is set up, can be started; it is, when it is first asked.

    Raises:
        SettingsError: a package or a model is missing; names what brings it.
    """
    if settings.llm_provider == "embedded" and (reason := missing_llama(settings)) is not None:
        raise SettingsError(reason)


def shown_dsn(dsn: str) -> str:
    """The DSN without password and query; nothing but its scheme where it is unclear what the password is."""
    found = _CLEAR_DSN.match(dsn)
    if found is None:
        return f"{dsn.partition('://')[0]}://***"
    return f"{found['scheme']}{found['user'] or ''}{':***' if found['password'] else ''}{found['place']}"


async def _refusal(dsn: str) -> str | None:
    import asyncpg

    try:
        connection = await asyncpg.connect(dsn, timeout=DATABASE_TIMEOUT_S)
    except TimeoutError:
        return f"no answer within {DATABASE_TIMEOUT_S:g} s"
    except ssl.SSLCertVerificationError as error:
        return (
            f"its certificate is not believed ({error.verify_message}): sslrootcert must be the authority that signed "
            "it, and with sslmode=verify-full the host of the DSN a name in it"
        )
    except (OSError, asyncpg.PostgresError) as error:
        return str(error).strip() or type(error).__name__
    except (ValueError, asyncpg.InterfaceError) as error:
        # The text of these may quote the DSN.
        return f"it cannot be read ({type(error).__name__})"
    await connection.close()
    return None
