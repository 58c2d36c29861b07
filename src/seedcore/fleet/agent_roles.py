"""Role probabilities of an agent: which of its organ's roles it proves to be good at.

The organ's weights are the prior, as strong as PRIOR_SUCCESSES successes. Every success at a skill that names a role
counts for that role, and fades as outcomes do for rates (`pricing.rates.FORGET`: a memory of 50). The probabilities are
the mean of the Dirichlet distribution with these counts: over the organ's roles they sum to 1.
"""

from collections.abc import Mapping

from seedcore.pricing.rates import FORGET

PRIOR_SUCCESSES = 10.0


def normalised(weights: Mapping[str, float]) -> dict[str, float]:
    """The prior probabilities that an organ's weights, each greater than 0, come to; empty without roles."""
    total = sum(weights.values())
    return {role: weight / total for role, weight in weights.items()}


def probabilities(prior: Mapping[str, float], counts: Mapping[str, float]) -> dict[str, float]:
    """Probability of each role of `prior`, given faded `counts` of successes; other roles in `counts` do not count."""
    total = PRIOR_SUCCESSES + sum(counts.get(role, 0.0) for role in prior)
    return {role: (PRIOR_SUCCESSES * share + counts.get(role, 0.0)) / total for role, share in prior.items()}


def count(counts: dict[str, float], role: str) -> None:
    """Count a success at a skill of `role`."""
    for name in counts:
        counts[name] *= FORGET
    counts[role] = counts.get(role, 0.0) + 1.0


def merge_earlier(counts: dict[str, float], earlier: Mapping[str, float]) -> None:
    """Add the counts of `earlier`, as successes older than all in `counts`."""
    keep = 1.0 - (1.0 - FORGET) * sum(counts.values())
    for role, value in earlier.items():
        counts[role] = counts.get(role, 0.0) + value * keep
