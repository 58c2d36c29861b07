"""Settings of Ray: where it is, which namespace, and how a start brings it up."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AliasChoices, Field, ValidationInfo, field_validator

from seedcore.settings.base import LOWER, READABLE, SettingsGroup


class RaySettings(SettingsGroup):
    """Ray: where it is, which namespace, and how a start brings it up."""

    title: ClassVar[str] = "Ray"

    role: Literal["head", "worker", "client"] | None = Field(
        None,
        validation_alias=AliasChoices("SEEDCORE_ROLE"),
        description="Role of this process's pod or host towards Ray; found out when unset.",
    )
    namespace: str = Field(
        "seedcore-dev",
        min_length=1,
        validation_alias=AliasChoices("SEEDCORE_NS", "RAY_NAMESPACE"),
        description="Ray namespace of SeedCore's actors.",
    )
    ray_address: str | None = Field(
        None,
        validation_alias=AliasChoices("RAY_ADDRESS"),
        description="Ray to connect to: `ray://HOST:10001`, `HOST:6380` or `auto`. Unset: derived from the role.",
    )
    ray_host: str | None = Field(
        None,
        validation_alias=AliasChoices("RAY_HOST"),
        description="Host of the Ray client server; used by clients only.",
    )
    ray_port: str = Field(
        "10001",
        validation_alias=AliasChoices("RAY_PORT"),
        description="Port of the Ray client server; used by clients only (in KubeRay's pods it means something else).",
    )
    ray_node_group: str | None = Field(
        None,
        validation_alias=AliasChoices("RAY_NODE_TYPE_NAME"),
        description="Set by KubeRay in its pods (`headgroup` in a head): decides the role when SEEDCORE_ROLE is unset.",
    )
    ray_connect_timeout_s: float = Field(
        15.0,
        gt=0,
        le=600,
        validation_alias=AliasChoices("SEEDCORE_RAY_CONNECT_TIMEOUT_S"),
        description="Longest wait for a connection to Ray.",
    )
    serve_url: str | None = Field(
        None,
        validation_alias=AliasChoices("RAY_SERVE_ADDRESS", "RAY_SERVE_URL"),
        description="Base URL of Ray Serve's HTTP. Unset: SEEDCORE_HTTP_HOST and SEEDCORE_HTTP_PORT.",
    )
    dashboard_url: str | None = Field(
        None,
        validation_alias=AliasChoices("RAY_DASHBOARD_ADDRESS", "RAY_DASHBOARD_URL"),
        description="Base URL of the Ray dashboard.",
    )
    ray_dashboard: bool = Field(
        False,
        validation_alias=AliasChoices("SEEDCORE_RAY_DASHBOARD"),
        description="`make run` also starts Ray's dashboard, on loopback; it takes 300 MB and seconds of every start.",
    )
    bootstrap_mode: Annotated[Literal["all", "organism", "dispatchers"], LOWER] = Field(
        "all",
        validation_alias=AliasChoices("BOOTSTRAP_MODE"),
        description="What `bootstraps.bootstrap_entry` brings up.",
    )
    bootstrap_timeout_s: float = Field(
        600.0,
        gt=0,
        le=3600,
        validation_alias=AliasChoices("SEEDCORE_BOOTSTRAP_TIMEOUT_S"),
        description="Longest time that a start or a bootstrap may take; `seedcore run` gives each part of Ray a fifth.",
    )
    ray_use_tls: bool | None = Field(
        None,
        validation_alias=AliasChoices("RAY_USE_TLS"),
        description="1: Ray's processes speak TLS to each other, and each shows a certificate. Every node and every "
        "client needs it, and the three files.",
    )
    ray_tls_server_cert: Annotated[Path | None, READABLE] = Field(
        None,
        validate_default=True,
        validation_alias=AliasChoices("RAY_TLS_SERVER_CERT"),
        description="Certificate of this node or client for Ray, PEM; needed with RAY_USE_TLS.",
    )
    ray_tls_server_key: Annotated[Path | None, READABLE] = Field(
        None,
        validate_default=True,
        validation_alias=AliasChoices("RAY_TLS_SERVER_KEY"),
        description="Key of that certificate, PEM; needed with RAY_USE_TLS.",
    )
    ray_tls_ca_cert: Annotated[Path | None, READABLE] = Field(
        None,
        validate_default=True,
        validation_alias=AliasChoices("RAY_TLS_CA_CERT"),
        description="Certificate of the authority that signed those of all nodes, PEM; needed with RAY_USE_TLS.",
    )

    @field_validator("ray_tls_server_cert", "ray_tls_server_key", "ray_tls_ca_cert", mode="after")
    @classmethod
    def _all_or_none(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        wanted = info.data.get("ray_use_tls")
        if wanted and value is None:
            raise ValueError("must name a file with RAY_USE_TLS=1 (deploy/make-certs.sh makes all three)")
        if wanted is None and value is not None:
            raise ValueError("has no effect without RAY_USE_TLS: set RAY_USE_TLS=1, or unset this")
        return value
