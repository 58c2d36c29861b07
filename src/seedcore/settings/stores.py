"""Settings of the data directory and of the stores beside PostgreSQL."""

import os
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AliasChoices, Field, SecretStr

from seedcore.settings.base import ABSOLUTE, SettingsGroup, url_of


def default_data_dir() -> Path:
    """`/var/lib/seedcore` for root (a server user must be able to reach it), `~/.seedcore` for other users."""
    if os.geteuid() == 0:
        return Path("/var/lib/seedcore")
    return Path.home() / ".seedcore"


class StoreSettings(SettingsGroup):
    """The data directory and the stores beside PostgreSQL."""

    title: ClassVar[str] = "Stores"

    data_dir: Annotated[Path, ABSOLUTE] = Field(
        default_factory=default_data_dir,
        validation_alias=AliasChoices("SEEDCORE_DATA_DIR"),
        description="Folder of the embedded stores, models, logs and the address of the local Ray. "
        "Default: `/var/lib/seedcore` for root, `~/.seedcore` otherwise.",
    )
    redis_url: Annotated[SecretStr | None, url_of("redis", "rediss", "unix")] = Field(
        None,
        validation_alias=AliasChoices("REDIS_URL"),
        description="Redis of the working memory: what one process has made (plans, embeddings, schemas of models, "
        "answers of language models that are asked to be kept), the others find. Unset: each process has a cache of "
        "its own.",
    )
    working_memory_bytes: int = Field(
        64 * 1024 * 1024,
        ge=1024,
        le=16 * 1024**3,
        validation_alias=AliasChoices("SEEDCORE_WORKING_MEMORY_BYTES"),
        description="Most bytes of the working memory in each process that has one, and the same in Redis; the least "
        "recently used go first.",
    )
    mysql_dsn: Annotated[SecretStr | None, url_of("mysql+mysqlconnector")] = Field(
        None,
        validation_alias=AliasChoices("SEEDCORE_MYSQL_DSN"),
        description="MySQL for flashbulb incidents (`mysql+mysqlconnector://…`), migrated by the bootstrap. While it "
        "does not answer they wait in PostgreSQL. Unset: PostgreSQL keeps them.",
    )

    @property
    def runtime_dir(self) -> Path:
        """Short-named folder for sockets and Ray's session: socket paths are limited to 107 bytes."""
        digest = sha256(str(self.data_dir).encode()).hexdigest()[:10]
        return Path(tempfile.gettempdir()) / f"sc-{os.getuid()}-{digest}"
