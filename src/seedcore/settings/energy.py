"""Settings of energy: weights of the terms, and the flywheel that adjusts them."""

from typing import ClassVar

from pydantic import AliasChoices, Field

from seedcore.settings.base import SettingsGroup


class EnergySettings(SettingsGroup):
    """Energy: weights of the terms, and the flywheel that adjusts them."""

    title: ClassVar[str] = "Energy"

    energy_v: float = Field(
        1.0,
        ge=0,
        le=1e6,
        validation_alias=AliasChoices("SEEDCORE_ENERGY_V"),
        description="V: seconds² that one unit of cost weighs in ΔE.",
    )
    energy_money: float = Field(
        1.0,
        ge=0,
        le=1e6,
        validation_alias=AliasChoices("SEEDCORE_ENERGY_MONEY"),
        description="Failures that one unit of the money which skills report weighs in ΔE.",
    )
    data_bytes_per_s: float | None = Field(
        None,
        gt=0,
        le=1e15,
        validation_alias=AliasChoices("SEEDCORE_DATA_BYTES_PER_S"),
        description="Transfer rate of data to an agent on another node; "
        "unset: the location of a task's data does not count.",
    )
    failure_budget: float = Field(
        0.01,
        gt=0,
        le=1,
        validation_alias=AliasChoices("SEEDCORE_FAILURE_BUDGET"),
        description="Share of failures that the flywheel accepts: above it V rises, below it V falls.",
    )
    flywheel_s: float = Field(
        600.0,
        ge=0,
        le=86_400,
        validation_alias=AliasChoices("SEEDCORE_FLYWHEEL_S"),
        description="Seconds between the flywheel's own turns; 0: it turns only on request.",
    )
