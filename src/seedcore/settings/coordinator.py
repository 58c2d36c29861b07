"""Settings of the Coordinator: policy, routing, stream monitors, recipes and triage."""

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator

from seedcore.settings.base import ABSOLUTE, LOWER, SettingsGroup, split_list

Router = Literal["energy", "join_shortest_queue", "power_of_two", "least_expected_delay", "round_robin", "random"]


class CoordinatorSettings(SettingsGroup):
    """The Coordinator: policy, routing, stream monitors, recipes and triage."""

    title: ClassVar[str] = "Coordinator"

    policy_path: Annotated[Path | None, ABSOLUTE] = Field(
        None,
        validation_alias=AliasChoices("SEEDCORE_POLICY_PATH"),
        description="Policy file; unset: the one in the package.",
    )
    router: Annotated[Router, LOWER] = Field(
        "energy",
        validation_alias=AliasChoices("SEEDCORE_ROUTER"),
        description="What chooses the agent of a task: the smallest ΔE, or what to compare it with.",
    )
    scout_share: float = Field(
        0.05,
        ge=0,
        le=1,
        validation_alias=AliasChoices("SEEDCORE_SCOUT_SHARE"),
        description="Least share of an organ's tasks for agents that are still unproven, while others are proven.",
    )
    route_wait_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        validation_alias=AliasChoices("SEEDCORE_ROUTE_WAIT_S"),
        description="Longest wait of route-and-execute.",
    )
    drift_threshold: float = Field(
        0.5,
        gt=0,
        lt=1,
        validation_alias=AliasChoices("OCPS_DRIFT_THRESHOLD"),
        description="Evidence at which the valve opens.",
    )
    arl0: float = Field(
        10_000.0,
        ge=100,
        le=500_000,
        validation_alias=AliasChoices("OCPS_ARL0"),
        description="Mean tasks of a stream between false alarms of its valve.",
    )
    recipe_after: int = Field(
        5,
        ge=0,
        le=50,
        validation_alias=AliasChoices("SEEDCORE_RECIPE_AFTER"),
        description="A plan that completed this often for such goals becomes a recipe; 0: none does.",
    )
    recipe_least: float = Field(
        0.7,
        gt=0,
        lt=0.9,
        validation_alias=AliasChoices("SEEDCORE_RECIPE_LEAST"),
        description="A recipe whose shrunken success rate falls below this is withdrawn.",
    )
    webhooks: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices("SEEDCORE_WEBHOOKS"),
        description="Comma-separated `NAME=URL`: what a triage may notify, by name; requests name no address.",
    )
    triage_actions: str = Field(
        "",
        validation_alias=AliasChoices("SEEDCORE_TRIAGE_ACTIONS"),
        description="Comma-separated modules that define actions of a triage (`seedcore.coordinator.triage.action`).",
    )

    flashbulb_salience: float = Field(
        0.7,
        ge=0,
        le=1,
        validation_alias=AliasChoices("SEEDCORE_FLASHBULB_SALIENCE"),
        description="Triages and opened valves of at least this salience are kept for good, as flashbulbs.",
    )

    @property
    def webhook_urls(self) -> dict[str, str]:
        """URLs by name."""
        pairs = split_list(self.webhooks.get_secret_value())
        return {name: url for name, _, url in (pair.partition("=") for pair in pairs)}

    @property
    def triage_action_modules(self) -> tuple[str, ...]:
        """Modules named by SEEDCORE_TRIAGE_ACTIONS."""
        return split_list(self.triage_actions)

    @field_validator("webhooks", mode="after")
    @classmethod
    def _named_urls(cls, value: SecretStr) -> SecretStr:
        pairs = split_list(value.get_secret_value())
        if not all(re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}=https?://[^\s/]\S*", pair, re.ASCII) for pair in pairs):
            raise ValueError("must be NAME=URL with http or https, several separated by commas")
        if len({pair.partition("=")[0] for pair in pairs}) < len(pairs):
            raise ValueError("must have a different name for each URL")
        return value
