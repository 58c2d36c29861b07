"""Settings of PostgreSQL."""

from typing import Annotated, ClassVar

from pydantic import AliasChoices, Field, SecretStr

from seedcore.settings.base import SettingsGroup, url_of


class PostgresSettings(SettingsGroup):
    """PostgreSQL."""

    title: ClassVar[str] = "PostgreSQL"

    pg_dsn: Annotated[SecretStr | None, url_of("postgresql", "postgres")] = Field(
        None,
        validation_alias=AliasChoices("SEEDCORE_PG_DSN"),
        description="PostgreSQL (with pgvector). Unset: an embedded server in the data directory.",
    )
    pg_pool_size: int = Field(
        3,
        ge=1,
        le=100,
        validation_alias=AliasChoices("SEEDCORE_PG_POOL_SIZE"),
        description="Maximum of PostgreSQL connections per process.",
    )
