"""Settings of HTTP: addresses, ports and time limits."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AliasChoices, Field, ValidationInfo, field_validator

from seedcore.settings.base import ABSOLUTE, LOWER, READABLE, SettingsGroup


class HttpSettings(SettingsGroup):
    """HTTP: addresses, ports and time limits."""

    title: ClassVar[str] = "HTTP"

    http_host: str = Field(
        "127.0.0.1",
        validation_alias=AliasChoices("SEEDCORE_HTTP_HOST"),
        description="Address that HTTP binds to. Anything but loopback needs SEEDCORE_API_KEYS.",
    )
    http_port: int = Field(
        8000,
        ge=1,
        le=65535,
        validation_alias=AliasChoices("SEEDCORE_HTTP_PORT"),
        description="Port of Ray Serve's HTTP.",
    )
    http_mode: Annotated[Literal["haproxy", "proxy"], LOWER] = Field(
        "haproxy",
        validation_alias=AliasChoices("SEEDCORE_HTTP_MODE"),
        description="How `make run` serves HTTP: through HAProxy (90 MB more, and faster when overloaded), "
        "or through Serve's own Python proxy.",
    )
    api_port: int = Field(
        8002,
        ge=1,
        le=65535,
        validation_alias=AliasChoices("SEEDCORE_API_PORT"),
        description="Port of `python -m seedcore.api`.",
    )
    request_timeout_s: float = Field(
        60.0,
        gt=0,
        le=3600,
        validation_alias=AliasChoices("SEEDCORE_REQUEST_TIMEOUT_S"),
        description="Longest time one HTTP request may take (event streams excepted); no header can lift it.",
    )
    tls_cert: Annotated[Path | None, ABSOLUTE] = Field(
        None,
        validation_alias=AliasChoices("SEEDCORE_TLS_CERT"),
        description="Certificate of HTTP, PEM, with those between it and its authority. Set: HTTP is HTTPS. Read again "
        "when it changes.",
    )
    tls_key: Annotated[Path | None, ABSOLUTE] = Field(
        None,
        validate_default=True,
        validation_alias=AliasChoices("SEEDCORE_TLS_KEY"),
        description="Key of SEEDCORE_TLS_CERT, PEM, without a password.",
    )
    tls_ca: Annotated[Path | None, READABLE] = Field(
        None,
        validation_alias=AliasChoices("SEEDCORE_TLS_CA"),
        description="Certificates of authorities, PEM, that SeedCore's own clients hold HTTPS against. Unset: those "
        "that the system trusts.",
    )

    @field_validator("tls_key", mode="after")
    @classmethod
    def _both_or_none(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if (value is None) != (info.data.get("tls_cert") is None):
            raise ValueError("must be set together with SEEDCORE_TLS_CERT, or neither of the two")
        return value
