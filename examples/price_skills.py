"""Skills of `make demo-memory`: a shop reads prices, and some are written in another country's way.

`shop.price` reads `12.50`. `shop.price_check` says whether it can. The others read prices, too: SeedCore finds by their
types that they can stand in for it, and learns which of them does.
"""

import re

from pydantic import BaseModel, Field

from seedcore.skills import SkillContext, SkillError, skill


class WrittenPrice(BaseModel):
    """A price as someone wrote it."""

    text: str = Field(max_length=100)


class Price(BaseModel):
    """A price in cents."""

    cents: int


class Readable(BaseModel):
    """Whether `shop.price` can read a price."""

    readable: bool


def _cents(text: str, pattern: str) -> int:
    found = re.fullmatch(pattern, text.strip())
    if found is None:
        raise SkillError("this is no price that it can read", retryable=False)
    whole, part = found.groups()
    return int(re.sub(r"\D", "", whole)) * 100 + int(part)


@skill("shop.price")
async def price(params: WrittenPrice, context: SkillContext) -> Price:
    """Read a price such as 1,234.50."""
    return Price(cents=_cents(params.text, r"(\d{1,3}(?:,?\d{3})*)\.(\d\d)"))


@skill("shop.price_check", checks="shop.price", when="before")
async def price_check(params: WrittenPrice, context: SkillContext) -> Readable:
    """Refuse a price that `shop.price` would not read."""
    _cents(params.text, r"(\d{1,3}(?:,?\d{3})*)\.(\d\d)")
    return Readable(readable=True)


@skill("shop.price_in_cents")
async def price_in_cents(params: WrittenPrice, context: SkillContext) -> Price:
    """Read a price such as 1234 ct 50."""
    return Price(cents=_cents(params.text, r"(\d+) ct (\d\d)"))


@skill("shop.price_with_comma")
async def price_with_comma(params: WrittenPrice, context: SkillContext) -> Price:
    """Read a price such as 1.234,50."""
    return Price(cents=_cents(params.text, r"(\d{1,3}(?:\.?\d{3})*),(\d\d)"))
