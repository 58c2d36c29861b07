"""Settings of the Cognitive service: limits of planning."""

from typing import ClassVar

from pydantic import AliasChoices, Field, field_validator

from seedcore.settings.base import SettingsGroup, split_list

MOVES = {"equivalent": ("equivalent",), "check": ("check_before", "check_after"), "sample": ("sample",)}
"""What may be tried for escalated work beside running it and asking a person, and the kinds of moves that it covers."""


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
    cognitive_llm_timeout_s: float = Field(
        45.0,
        gt=0,
        le=3600,
        validation_alias=AliasChoices("COGNITIVE_LLM_TIMEOUT_S"),
        description="Longest time that the language model may take for one answer, with the round that corrects it; "
        "then the offline engine answers. It ends early enough for that within SEEDCORE_REQUEST_TIMEOUT_S.",
    )
    cognitive_max_inflight: int = Field(
        64,
        ge=1,
        le=10_000,
        validation_alias=AliasChoices("COGNITIVE_MAX_INFLIGHT"),
        description="Maximum of answers made at once; over it: 429.",
    )
    max_plan_steps: int = Field(
        16, ge=1, le=1000, validation_alias=AliasChoices("MAX_PLAN_STEPS"), description="Maximum of steps in one plan."
    )
    escalation_moves: str = Field(
        "equivalent,check,sample",
        validation_alias=AliasChoices("SEEDCORE_ESCALATION_MOVES"),
        description="Comma-separated: what may be tried for work that stopped looking like its past, beside running it "
        "as it is and asking a person. `equivalent` runs another skill of the same types, `check` a skill that checks "
        "it, `sample` a few tasks before the others. Empty: nothing.",
    )
    escalation_sample: int = Field(
        5,
        ge=1,
        le=100,
        validation_alias=AliasChoices("SEEDCORE_ESCALATION_SAMPLE"),
        description="Tasks in a first sample of changed work; the stream's others wait for it.",
    )

    @property
    def escalation_kinds(self) -> frozenset[str]:
        """Kinds of moves that may be tried."""
        return frozenset(kind for name in split_list(self.escalation_moves) for kind in MOVES[name])

    @field_validator("escalation_moves", mode="after")
    @classmethod
    def _known_moves(cls, value: str) -> str:
        if not set(split_list(value)) <= MOVES.keys():
            raise ValueError(f"must be some of {', '.join(MOVES)}, separated by commas")
        return value
