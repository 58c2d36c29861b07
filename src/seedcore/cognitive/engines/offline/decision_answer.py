"""Decisions over the wire: options in, the choice by expected loss out."""

from seedcore.cognitive.engines.offline.expected_loss import Choice, Option, Requirement, choose
from seedcore.schemas.cognitive.decisions import (
    DecisionChangeOut,
    MakeDecisionRequest,
    MakeDecisionResponse,
    OptionIn,
    OptionOut,
)


def decide(request: MakeDecisionRequest) -> MakeDecisionResponse:
    """The option with the least expected loss whose requirements are met, and what would change the choice."""
    return _decision(choose([_option(option) for option in request.options], request.beliefs, request.facts))


def _option(given: OptionIn) -> Option:
    requires = tuple(Requirement(r.fact, r.op, r.value) for r in given.requires)
    return Option(given.name, given.cost, given.losses, given.otherwise, requires)


def _decision(choice: Choice) -> MakeDecisionResponse:
    best = choice.chosen
    return MakeDecisionResponse(
        decision=best.option.name,
        expected_loss=best.expected_loss,
        margin=choice.margin,
        beliefs=dict(choice.beliefs),
        options=[
            OptionOut(
                name=evaluated.option.name,
                expected_loss=evaluated.expected_loss,
                cost=evaluated.option.cost,
                losses={name: evaluated.option.loss(name) for name in choice.beliefs},
                unmet=list(evaluated.unmet),
            )
            for evaluated in choice.options
        ],
        would_change=[
            DecisionChangeOut(
                option=change.option,
                hypothesis=change.hypothesis,
                belief=change.belief,
                needed=change.needed,
                unmet=list(change.unmet),
            )
            for change in choice.changes
        ],
    )
