"""Settings of State: the history that it samples."""

from typing import ClassVar

from pydantic import AliasChoices, Field

from seedcore.settings.base import SettingsGroup


class StateSettings(SettingsGroup):
    """State: the history that it samples."""

    title: ClassVar[str] = "State"

    state_sample_s: float = Field(
        10.0,
        ge=1,
        le=3600,
        validation_alias=AliasChoices("SEEDCORE_STATE_SAMPLE_S"),
        description="Seconds between two samples of the history that State keeps.",
    )
    retention_state_d: float = Field(
        7.0,
        gt=0,
        le=3650,
        validation_alias=AliasChoices("SEEDCORE_RETENTION_STATE_D"),
        description="Days that these samples are kept.",
    )
