"""Settings of the language model."""

from typing import Annotated, ClassVar

from pydantic import AliasChoices, Field

from seedcore.settings.base import LOWER, SettingsGroup


class LlmSettings(SettingsGroup):
    """The language model."""

    title: ClassVar[str] = "Language model"

    llm_provider: Annotated[str, LOWER] = Field(
        "none",
        validation_alias=AliasChoices("LLM_PROVIDER"),
        description="Provider of the language model. None is used yet: plans are found by search alone. "
        "Cognitive's health and its refusal of a goal in free text show this value.",
    )
