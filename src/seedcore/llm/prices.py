"""What calls of language models use and cost."""

from dataclasses import dataclass
from typing import NamedTuple

from seedcore.settings import Settings


class ModelUsage(NamedTuple):
    """Tokens of one call or of several."""

    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Both together."""
        return self.input_tokens + self.output_tokens

    def plus(self, other: "ModelUsage") -> "ModelUsage":
        """The sum."""
        return ModelUsage(self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens)


@dataclass(frozen=True, slots=True)
class ModelCost:
    """Money, and whether the model has a price: without one it costs 0, which an answer says."""

    money: float
    priced: bool


def cost_of(settings: Settings, model: str, usage: ModelUsage) -> ModelCost:
    """What `usage` costs by the price table."""
    price = settings.llm_prices.get(model)
    if price is None:
        return ModelCost(0.0, priced=False)
    return ModelCost((usage.input_tokens * price.input + usage.output_tokens * price.output) / 1e6, priced=True)
