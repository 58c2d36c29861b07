"""Settings of the Organism: organs, and the agents of a host."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AliasChoices, Field

from seedcore.settings.base import ABSOLUTE, SettingsGroup


class OrganismSettings(SettingsGroup):
    """The Organism: organs, and the agents of a host."""

    title: ClassVar[str] = "Organism"

    organs_path: Annotated[Path | None, ABSOLUTE] = Field(
        None,
        validation_alias=AliasChoices("SEEDCORE_ORGANS_PATH"),
        description="Organs file; unset: the one in the package.",
    )
    drain_s: float = Field(
        60.0,
        ge=0,
        le=86_400,
        validation_alias=AliasChoices("SEEDCORE_DRAIN_S"),
        description="Longest time that a host being removed may take to finish its tasks.",
    )
    host_agents: int = Field(
        20_000,
        ge=1,
        le=10_000_000,
        validation_alias=AliasChoices("SEEDCORE_HOST_AGENTS"),
        description="Maximum of agents that a host keeps in memory; over it, idle ones are put to sleep at once.",
    )
    agent_idle_s: float = Field(
        300.0,
        gt=0,
        le=86_400,
        validation_alias=AliasChoices("SEEDCORE_AGENT_IDLE_S"),
        description="An agent without work for this long is put to sleep: what it has learned stays in PostgreSQL.",
    )
    scale_ahead_s: float = Field(
        0.0,
        ge=0,
        le=86_400,
        validation_alias=AliasChoices("SEEDCORE_SCALE_AHEAD_S"),
        description="Hosts are started for what the ML service forecasts within this time; 0: only for measured load.",
    )
    agent_concurrency: int = Field(
        0,
        ge=0,
        le=100_000,
        validation_alias=AliasChoices("SEEDCORE_AGENT_CONCURRENCY"),
        description="Skills that run at once for one agent; 0: as many as its host runs.",
    )
