"""Settings of long-term memory: how much is kept, and for how long."""

from typing import ClassVar

from pydantic import AliasChoices, Field

from seedcore.settings.base import SettingsGroup


class MemorySettings(SettingsGroup):
    """Long-term memory: how much is kept, and for how long."""

    title: ClassVar[str] = "Memory"

    memory_max_items: int = Field(
        100_000,
        ge=100,
        le=10_000_000,
        validation_alias=AliasChoices("SEEDCORE_MEMORY_MAX_ITEMS"),
        description="Memories that are kept of each tenant; over it the weakest are forgotten.",
    )
    memory_half_life_d: float = Field(
        30.0,
        gt=0,
        le=36_500,
        validation_alias=AliasChoices("SEEDCORE_MEMORY_HALF_LIFE_D"),
        description="Days without use after which a memory is half as strong; what was seen or found often fades more "
        "slowly. Below a twentieth of full strength it is forgotten.",
    )
    memory_consolidate_every_s: float = Field(
        86_400.0,
        ge=60,
        le=31_622_400,
        validation_alias=AliasChoices("SEEDCORE_MEMORY_CONSOLIDATE_EVERY_S"),
        description="Seconds between two consolidations, which make one memory of many that are alike.",
    )
    memory_consolidate_after_d: float = Field(
        7.0,
        ge=0,
        le=36_500,
        validation_alias=AliasChoices("SEEDCORE_MEMORY_CONSOLIDATE_AFTER_D"),
        description="Days that a memory stays as it is before it may be consolidated.",
    )
    memory_max_loss: float = Field(
        0.15,
        ge=0,
        le=1,
        validation_alias=AliasChoices("SEEDCORE_MEMORY_MAX_LOSS"),
        description="How far a memory may be from the one that consolidation keeps for it: 1 minus the cosine "
        "similarity of both.",
    )
