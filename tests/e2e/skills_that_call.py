"""A skill that calls a model, in a host of its organ's own."""

from pydantic import BaseModel

from seedcore.skills import SkillContext, skill

ORGAN = """
  models:
    description: Calls of models, away from everything else.
    agents: 2
    isolation: process
    hosts: 1
"""


class Question(BaseModel):
    """What to ask."""

    question: str


class Answer(BaseModel):
    """What the model said."""

    answer: str


@skill("models.ask", organ="models")
async def ask(params: Question, context: SkillContext) -> Answer:
    """Ask a model."""
    with context.model_call("acme", "small-1") as call:
        call.used(input_tokens=12, output_tokens=5, money=0.25)
    context.logger.info("the model has answered")
    return Answer(answer=params.question.upper())
