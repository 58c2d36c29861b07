"""Salience: the items that are scored, and their scores."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from seedcore.decision.salience import FEATURES, SalienceFeature
from seedcore.schemas.ml.models import ModelRef

MAX_ITEMS = 1_000


def _field(feature: SalienceFeature) -> Any:
    text = feature.means if feature.beforehand else f"{feature.means}; known only afterwards"
    if feature.kind == "boolean":
        return (Annotated[bool, Field(strict=True)] | None, Field(None, description=text))
    described = Field(None, description=f"{text}; null counts as {feature.default:g}")
    if feature.kind == "integer":
        return (Annotated[int, Field(strict=True, ge=int(feature.low), le=int(feature.high))] | None, described)
    bounds = Field(strict=True, ge=feature.low, le=feature.high, allow_inf_nan=False)
    return (Annotated[float, bounds] | None, described)


if TYPE_CHECKING:
    SalienceItem = BaseModel
else:
    SalienceItem = create_model(
        "SalienceItem",
        __config__=ConfigDict(extra="forbid"),
        __doc__="What is known of one task, stream or incident: declared features, each null where it is unknown.",
        **{feature.name: _field(feature) for feature in FEATURES},
    )


class SalienceRequest(BaseModel):
    """Items to score. `features` is another name of `items`: give one of them."""

    model_config = ConfigDict(extra="forbid")

    items: list[SalienceItem] | None = Field(None, min_length=1, max_length=MAX_ITEMS)
    features: list[SalienceItem] | None = Field(None, min_length=1, max_length=MAX_ITEMS)

    @model_validator(mode="after")
    def _one_list(self) -> "SalienceRequest":
        if (self.items is None) == (self.features is None):
            raise ValueError("give items, a list of objects (or features, which is the same, but not both)")
        return self

    @property
    def given(self) -> list[dict[str, float | None]]:
        """The items, as values of features by name."""
        return [item.model_dump() for item in self.items or self.features or []]


class SalienceScore(BaseModel):
    """A score in [0, 1], from the learned model or the formula; `model` is the version that was asked."""

    score: float = Field(ge=0, le=1)
    source: Literal["learned", "formula"]
    model: ModelRef | None = None


class SalienceResponse(BaseModel):
    """One score for each item, in order. `reason` says why the formula answered."""

    scores: list[SalienceScore]
    reason: str | None = None


class LearnSalience(BaseModel):
    """What the salience is learned from: the newest ended tasks of all tenants; `rows` at most."""

    model_config = ConfigDict(extra="forbid")

    rows: int = Field(50_000, ge=100, le=200_000, strict=True)
    window_s: float | None = Field(
        None, gt=0, le=31_536_000, allow_inf_nan=False, description="tasks that ended within so many seconds; null: all"
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, strict=True)


class LearnedSalience(BaseModel):
    """What came of learning.

    Attributes:
        status: `champion` (it answers from now on), `kept` (a version that did not beat what answers now), or
            `not_trained` (too few tasks, or all of them ended alike).
        reason: why, in one sentence.
        version: of the model `salience`; null when nothing was trained.
        metrics: on held-out rows, which are the newest fifth.
    """

    status: Literal["champion", "kept", "not_trained"]
    reason: str
    rows: int
    version: int | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
