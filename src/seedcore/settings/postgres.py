"""Settings of PostgreSQL."""

import os
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import parse_qs, urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator

from seedcore.settings.base import SettingsGroup, url_of

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class PostgresSettings(SettingsGroup):
    """PostgreSQL."""

    title: ClassVar[str] = "PostgreSQL"

    pg_dsn: Annotated[SecretStr | None, url_of("postgresql", "postgres")] = Field(
        None,
        validation_alias=AliasChoices("SEEDCORE_PG_DSN"),
        description="PostgreSQL (with pgvector). Unset: an embedded server in the data directory. "
        "`?sslmode=verify-full&sslrootcert=FILE` demands TLS and a certificate that FILE's authority signed.",
    )
    pg_pool_size: int = Field(
        3,
        ge=1,
        le=100,
        validation_alias=AliasChoices("SEEDCORE_PG_POOL_SIZE"),
        description="Maximum of PostgreSQL connections per process.",
    )

    @field_validator("pg_dsn", mode="after")
    @classmethod
    def _tls_that_works(cls, value: SecretStr | None) -> SecretStr | None:
        """What is demanded of TLS must mean the same to every driver, before the first of them connects."""
        options = {} if value is None else parse_qs(urlsplit(value.get_secret_value()).query)
        (mode,) = options.get("sslmode", ["prefer"])[-1:]
        if mode not in SSL_MODES:
            raise ValueError(f"must have one of {', '.join(SSL_MODES)} as its sslmode")
        for name in ("sslrootcert", "sslcert", "sslkey"):
            for path in options.get(name, []):
                if not (Path(path).is_file() and os.access(path, os.R_OK)):
                    # `system` is libpq's alone.
                    raise ValueError(f"must have a file that this user can read as its {name} (with its whole path)")
        at_home = Path.home() / ".postgresql" / "root.crt"
        if mode.startswith("verify-") and "sslrootcert" not in options and not at_home.is_file():
            raise ValueError(f"must have an sslrootcert with sslmode={mode}: the file of the authority's certificate")
        return value
