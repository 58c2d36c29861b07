"""Settings of telemetry: what is logged and measured, and how."""

from typing import Annotated, ClassVar, Literal

from pydantic import AliasChoices, Field

from seedcore.settings.base import LOWER, UPPER, SettingsGroup


class TelemetrySettings(SettingsGroup):
    """Telemetry: what is logged and measured, and how."""

    title: ClassVar[str] = "Telemetry"

    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], UPPER] = Field(
        "INFO", validation_alias=AliasChoices("LOG_LEVEL"), description="Lowest level that is logged."
    )
    log_format: Annotated[Literal["json", "console"], LOWER] = Field(
        "json",
        validation_alias=AliasChoices("SEEDCORE_LOG_FORMAT"),
        description="One JSON object a line, or text for people.",
    )
    dispatcher_log_to_stdout: bool = Field(
        True,
        validation_alias=AliasChoices("DSP_LOG_TO_STDOUT"),
        description="Dispatchers also log to standard output.",
    )
    metrics: bool = Field(
        True,
        validation_alias=AliasChoices("SEEDCORE_METRICS"),
        description="Count metrics, and export them once a second: to PostgreSQL, and on Ray's metrics port.",
    )
    metrics_max_types: int = Field(
        64,
        ge=1,
        le=1000,
        validation_alias=AliasChoices("SEEDCORE_METRICS_MAX_TYPES"),
        description="Values that a label of a metric has at most (types, queues, tenants, models and the like); what "
        "comes after them is counted as `other`.",
    )
    metrics_retention_d: float = Field(
        7.0,
        gt=0,
        le=3650,
        validation_alias=AliasChoices("SEEDCORE_METRICS_RETENTION_D"),
        description="Days after which a series that nothing was added to is forgotten.",
    )
