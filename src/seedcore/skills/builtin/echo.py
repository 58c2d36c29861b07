"""`echo`: gives back what it got; it shows that the whole path works."""

from typing import Any

from pydantic import BaseModel

from seedcore.skills.sdk import SkillContext, skill


class Echo(BaseModel):
    """Any JSON value."""

    value: Any


@skill("echo", organ="utility", timeout_s=5)
async def echo(params: Echo, context: SkillContext) -> Echo:
    """Give back the value."""
    return params
