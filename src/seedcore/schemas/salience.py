"""Salience: the items that are scored, and their scores."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from seedcore.decision.salience import FEATURES, SalienceFeature
from seedcore.schemas.ml import ModelRef

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
