"""A `def` with `process=True`: work that keeps a processor busy runs in a process of its own."""

from itertools import combinations

from pydantic import BaseModel, Field

from seedcore.skills import SkillContext, skill


class Payment(BaseModel):
    """What came in, and what is open, in cents by invoice number."""

    cents: int = Field(gt=0)
    open: dict[str, int] = Field(min_length=1, max_length=24)


class Settled(BaseModel):
    """The fewest invoices that the payment settles exactly; none when no set of them does."""

    invoices: list[str] | None


@skill("acme.match", organ="billing", timeout_s=20, process=True, role="reviewer")
def match(params: Payment, context: SkillContext) -> Settled:
    """Which open invoices add up to a payment: every set of them is tried, the small ones first."""
    numbers = sorted(params.open)
    for size in range(1, len(numbers) + 1):
        for chosen in combinations(numbers, size):
            if sum(params.open[number] for number in chosen) == params.cents:
                return Settled(invoices=list(chosen))
    return Settled(invoices=None)
