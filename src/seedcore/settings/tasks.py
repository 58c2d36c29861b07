"""Settings of tasks: size limits, retries, plan budgets, approvals and retention."""

from typing import ClassVar, Literal

from pydantic import AliasChoices, Field

from seedcore.settings.base import SettingsGroup, split_list


class TaskSettings(SettingsGroup):
    """Tasks: size limits, retries, plan budgets, approvals and retention."""

    title: ClassVar[str] = "Tasks"

    max_params_bytes: int = Field(
        256 * 1024,
        ge=1024,
        validation_alias=AliasChoices("SEEDCORE_MAX_PARAMS_BYTES"),
        description="Largest `params` of a task.",
    )
    max_result_bytes: int = Field(
        1024 * 1024,
        ge=1024,
        validation_alias=AliasChoices("SEEDCORE_MAX_RESULT_BYTES"),
        description="Largest result of a task.",
    )
    max_batch_tasks: int = Field(
        10_000,
        ge=1,
        validation_alias=AliasChoices("SEEDCORE_MAX_BATCH_TASKS"),
        description="Maximum of tasks in one batch.",
    )
    max_batch_bytes: int = Field(
        16 * 1024 * 1024,
        ge=1024,
        validation_alias=AliasChoices("SEEDCORE_MAX_BATCH_BYTES"),
        description="Largest request body.",
    )
    max_attempts: int = Field(
        5,
        ge=1,
        le=100,
        validation_alias=AliasChoices("SEEDCORE_MAX_ATTEMPTS"),
        description="Attempts a task gets unless it names its own.",
    )
    retry_base_s: float = Field(
        0.5,
        gt=0,
        le=3600,
        validation_alias=AliasChoices("SEEDCORE_RETRY_BASE_S"),
        description="First retry's longest delay; doubles each time.",
    )
    retry_max_s: float = Field(
        300.0,
        gt=0,
        le=86400,
        validation_alias=AliasChoices("SEEDCORE_RETRY_MAX_S"),
        description="Longest delay before a retry.",
    )
    skill_timeout_s: float = Field(
        60.0,
        gt=0,
        le=86400,
        validation_alias=AliasChoices("SEEDCORE_SKILL_TIMEOUT_S"),
        description="Time a skill gets unless it names its own.",
    )
    skills: str = Field(
        "",
        validation_alias=AliasChoices("SEEDCORE_SKILLS"),
        description="Comma-separated modules that define skills.",
    )
    max_plan_time_s: float = Field(
        604_800.0,
        gt=0,
        le=31_536_000,
        validation_alias=AliasChoices("SEEDCORE_MAX_PLAN_TIME_S"),
        description="Longest time in the budget of a plan; also the budget of plans that name none.",
    )
    max_plan_tokens: float = Field(
        10_000_000.0,
        gt=0,
        le=1e15,
        validation_alias=AliasChoices("SEEDCORE_MAX_PLAN_TOKENS"),
        description="Maximum of tokens in the budget of a plan; also the budget of plans that name none.",
    )
    max_plan_money: float = Field(
        100.0,
        gt=0,
        le=1e12,
        validation_alias=AliasChoices("SEEDCORE_MAX_PLAN_MONEY"),
        description="Maximum of money in the budget of a plan, in the currency that skills report; "
        "also the budget of plans that name none.",
    )
    approval_s: float = Field(
        604_800.0,
        gt=0,
        le=31_536_000,
        validation_alias=AliasChoices("SEEDCORE_APPROVAL_S"),
        description="How long a task waits for a person's approval where its skill does not say.",
    )
    approval_on_expiry: Literal["reject", "release"] = Field(
        "reject",
        validation_alias=AliasChoices("SEEDCORE_APPROVAL_ON_EXPIRY"),
        description="What happens to a task that was neither approved nor refused in that time.",
    )
    retention_finished_d: float = Field(
        7.0,
        gt=0,
        le=36_500,
        validation_alias=AliasChoices("SEEDCORE_RETENTION_FINISHED_D"),
        description="Days that finished tasks and events are kept.",
    )
    retention_dead_d: float = Field(
        30.0,
        gt=0,
        le=36_500,
        validation_alias=AliasChoices("SEEDCORE_RETENTION_DEAD_D"),
        description="Days that failed tasks are kept.",
    )

    @property
    def skill_modules(self) -> tuple[str, ...]:
        """Modules named by SEEDCORE_SKILLS."""
        return split_list(self.skills)
