"""A skill that nobody runs without being asked."""

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
