"""The skill `echo`: returns its input, to show that the whole path works."""

from pydantic import BaseModel

from seedcore.skills.skill_decorator import SkillContext, skill


class Echo(BaseModel):
    """Any JSON value."""

    value: object


@skill("echo", organ="utility", timeout_s=5)
async def echo(params: Echo, context: SkillContext) -> Echo:
    """Return the value."""
    return params
