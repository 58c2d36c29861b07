"""A `def` with `process=True`: CPU-bound work runs in a process of its own."""

from itertools import combinations

from pydantic import BaseModel, Field

from seedcore.skills import SkillContext, skill


class Payment(BaseModel):
    """An incoming payment, and the open invoices by number, in cents."""

    cents: int = Field(gt=0)
    open: dict[str, int] = Field(min_length=1, max_length=24)


class Settled(BaseModel):
    """The fewest invoices that the payment settles exactly; null when there is no such set."""

    invoices: list[str] | None


@skill("acme.match", organ="billing", timeout_s=20, process=True, role="reviewer")
def match(params: Payment, context: SkillContext) -> Settled:
    """Find the open invoices that add up to a payment; tries every set, the smallest first."""
    numbers = sorted(params.open)
    for size in range(1, len(numbers) + 1):
        for chosen in combinations(numbers, size):
            if sum(params.open[number] for number in chosen) == params.cents:
                return Settled(invoices=list(chosen))
    return Settled(invoices=None)
