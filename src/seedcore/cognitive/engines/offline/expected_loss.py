"""Chooses the option with the least expected loss, and says what would change the choice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from seedcore.errors import InvalidInputError

Fact = bool | int | float | str
Comparison = Literal["==", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class Requirement:
    """A comparison that a fact must satisfy."""

    fact: str
    op: Comparison
    value: Fact

    def unmet(self, facts: Mapping[str, Fact]) -> str | None:
        """Why it is not met; None when it is. An unknown fact meets no requirement."""
        if self.fact not in facts:
            return f"{self.fact} is not known; it must be {self.op} {self.value!r}"
        given = facts[self.fact]
        if self.op in ("==", "!="):
            holds = (given == self.value) is (self.op == "==")
        elif isinstance(given, str) or isinstance(self.value, str):
            holds = False
        else:
            holds = {"<": given < self.value, "<=": given <= self.value, ">": given > self.value}.get(
                self.op, given >= self.value
            )
        return None if holds else f"{self.fact} is {given!r}; it must be {self.op} {self.value!r}"


@dataclass(frozen=True, slots=True)
class Option:
    """An option: its cost in any case, and the additional loss under each hypothesis.

    `losses` are by a hypothesis' name (`agent:a-1`) or kind (`agent`), the name first; `otherwise` applies to the rest.
    """

    name: str
    cost: float = 0.0
    losses: Mapping[str, float] = field(default_factory=dict)
    otherwise: float = 0.0
    requires: Sequence[Requirement] = ()

    def loss(self, hypothesis: str) -> float:
        """The total loss when the hypothesis is true."""
        kind = hypothesis.partition(":")[0]
        return self.cost + self.losses.get(hypothesis, self.losses.get(kind, self.otherwise))


@dataclass(frozen=True, slots=True)
class EvaluatedOption:
    """An option with its expected loss; `unmet`: requirements that are not met."""

    option: Option
    expected_loss: float
    unmet: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DecisionChange:
    """What would make `option` the choice: another belief in a hypothesis, or meeting its requirements."""

    option: str
    hypothesis: str | None = None
    belief: float | None = None
    needed: float | None = None
    unmet: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen option first, then the others by expected loss; `margin`: additional loss of the next allowed one."""

    options: tuple[EvaluatedOption, ...]
    beliefs: Mapping[str, float]
    margin: float | None
    changes: tuple[DecisionChange, ...]

    @property
    def chosen(self) -> EvaluatedOption:
        """The decision."""
        return self.options[0]


def choose(options: Sequence[Option], beliefs: Mapping[str, float], facts: Mapping[str, Fact]) -> Choice:
    """The allowed option with the least expected loss; of equal ones the first.

    Args:
        options: what can be done.
        beliefs: weights of hypotheses, at least one over 0; only their proportions count.
        facts: what requirements compare.

    Raises:
        InvalidInputError: every option has an unmet requirement, or all weights are 0.
    """
    total = sum(beliefs.values())
    if total <= 0:
        raise InvalidInputError.for_field("beliefs", "at least one hypothesis must have a weight over 0")
    shares = {name: weight / total for name, weight in beliefs.items()}
    evaluated = [
        EvaluatedOption(o, _expected(o, shares), tuple(why for r in o.requires if (why := r.unmet(facts))))
        for o in options
    ]
    allowed = sorted((w for w in evaluated if not w.unmet), key=lambda w: w.expected_loss)
    if not allowed:
        reasons = "; ".join(f"{w.option.name}: {', '.join(w.unmet)}" for w in evaluated)
        raise InvalidInputError.for_field("options", f"no option may be chosen ({reasons})")
    refused = sorted((w for w in evaluated if w.unmet), key=lambda w: w.expected_loss)
    margin = allowed[1].expected_loss - allowed[0].expected_loss if len(allowed) > 1 else None
    changes = tuple(_changes(allowed, refused, shares))
    return Choice((*allowed, *refused), shares, margin, changes)


def _expected(option: Option, shares: Mapping[str, float]) -> float:
    return sum(share * option.loss(name) for name, share in shares.items())


def _changes(
    allowed: Sequence[EvaluatedOption], refused: Sequence[EvaluatedOption], shares: Mapping[str, float]
) -> Iterator[DecisionChange]:
    best = allowed[0]
    for other in allowed[1:]:
        # The smallest change of a single belief that makes both equal, while the others keep their proportions.
        ties = [(abs(q - shares[name]), name, q) for name, q in _ties(best.option, other.option, shares)]
        if ties:
            _, name, needed = min(ties)
            yield DecisionChange(other.option.name, name, shares[name], needed)
    for other in refused:
        if other.expected_loss < best.expected_loss:
            yield DecisionChange(other.option.name, unmet=other.unmet)


def _ties(best: Option, other: Option, shares: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    for name, share in shares.items():
        here = other.loss(name) - best.loss(name)
        elsewhere = sum(s * (other.loss(n) - best.loss(n)) for n, s in shares.items() if n != name)
        if share < 1:
            elsewhere /= 1 - share
        if here != elsewhere and 0 <= (needed := elsewhere / (elsewhere - here)) <= 1 and needed != share:
            yield name, needed
