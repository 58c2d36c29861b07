"""A skill that runs when a person approves it, and one that ends its process."""

import os

from pydantic import BaseModel

from seedcore.skills import SkillContext, skill


class Amount(BaseModel):
    """What to pay."""

    amount: float


@skill("people.pay", approval=True, approval_s=600)
async def pay(params: Amount, context: SkillContext) -> Amount:
    """Pay, and say what that cost."""
    context.spend(money=params.amount)
    return params


class Fate(BaseModel):
    """Whether to end the process."""

    die: bool


@skill("people.deadly", organ="utility")
async def deadly(params: Fate, context: SkillContext) -> Fate:
    """End the process that runs this."""
    if params.die:
        os._exit(1)
    return params
