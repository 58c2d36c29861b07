"""An `async def`: quick work runs in its host's event loop."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated

from pydantic import BaseModel, Field

from seedcore.skills import SkillContext, skill

CENT = Decimal("0.01")


class Line(BaseModel):
    """One item of an invoice."""

    quantity: Annotated[Decimal, Field(gt=0, le=1_000_000)]
    price: Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=4)]
    tax_percent: Annotated[Decimal, Field(ge=0, le=100)] = Decimal(0)


class Invoice(BaseModel):
    """The items of an invoice."""

    lines: list[Line] = Field(min_length=1, max_length=10_000)


class Total(BaseModel):
    """Sums in whole cents, as text, because JSON numbers are not exact."""

    net: Decimal
    tax: Decimal
    gross: Decimal


@skill("acme.total", organ="billing", timeout_s=5, role="accountant")
async def total(params: Invoice, context: SkillContext) -> Total:
    """Compute net, tax and gross of an invoice; tax is rounded once a rate, as tax offices do."""
    by_rate: dict[Decimal, Decimal] = {}
    for line in params.lines:
        by_rate[line.tax_percent] = by_rate.get(line.tax_percent, Decimal(0)) + line.quantity * line.price
    net = _cents(sum(by_rate.values(), Decimal(0)))
    tax = sum((_cents(amount * rate / 100) for rate, amount in by_rate.items()), Decimal(0))
    return Total(net=net, tax=_cents(tax), gross=_cents(net + tax))


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)
