"""Settings of the Cognitive service: limits of planning."""

from typing import ClassVar

from pydantic import AliasChoices, Field

from seedcore.settings.base import SettingsGroup


class CognitiveSettings(SettingsGroup):
    """The Cognitive service: limits of planning."""

    title: ClassVar[str] = "Cognitive"

    cognitive_timeout_s: float = Field(
        8.0,
        gt=0,
        le=3600,
        validation_alias=AliasChoices("COGNITIVE_TIMEOUT_S"),
        description="Longest time one plan may take.",
    )
    cognitive_max_inflight: int = Field(
        64,
        ge=1,
        le=10_000,
        validation_alias=AliasChoices("COGNITIVE_MAX_INFLIGHT"),
        description="Maximum of plans made at once; over it: 429.",
    )
    max_plan_steps: int = Field(
        16, ge=1, le=1000, validation_alias=AliasChoices("MAX_PLAN_STEPS"), description="Maximum of steps in one plan."
    )
