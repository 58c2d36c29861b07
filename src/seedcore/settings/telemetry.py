"""Settings of telemetry: what is logged, and how."""

from typing import Annotated, ClassVar, Literal

from pydantic import AliasChoices, Field

from seedcore.settings.base import LOWER, UPPER, SettingsGroup


class TelemetrySettings(SettingsGroup):
    """Telemetry: what is logged, and how."""

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
