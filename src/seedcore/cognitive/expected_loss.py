"""Choosing among options: the least expected loss of those whose requirements hold, and what would change that."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from seedcore.errors import InvalidInputError

Fact = bool | int | float | str
Comparison = Literal["==", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class Requirement:
    """A fact must compare so."""

    fact: str
    op: Comparison
    value: Fact

    def unmet(self, facts: Mapping[str, Fact]) -> str | None:
        """Why it does not hold; None: it does. A fact that nobody knows holds nothing."""
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
    """What can be done: its cost whatever is true, and what is lost besides when a hypothesis is.

    `losses` go by a hypothesis' name (`agent:a-1`) or kind (`agent`), the name first; `otherwise` holds for the rest.
    """

    name: str
    cost: float = 0.0
    losses: Mapping[str, float] = field(default_factory=dict)
    otherwise: float = 0.0
    requires: Sequence[Requirement] = ()

    def loss(self, hypothesis: str) -> float:
        """What is lost in all when the hypothesis is true."""
        kind = hypothesis.partition(":")[0]
        return self.cost + self.losses.get(hypothesis, self.losses.get(kind, self.otherwise))


@dataclass(frozen=True, slots=True)
class Weighed:
    """An option and its expected loss; `unmet`: requirements that do not hold."""

    option: Option
    expected_loss: float
    unmet: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What would make `option` the choice: a belief of another size, or requirements that hold."""

    option: str
    hypothesis: str | None = None
    belief: float | None = None
    needed: float | None = None
    unmet: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen option first, then the others by expected loss; `margin`: how much more the next allowed one loses."""

    weighed: tuple[Weighed, ...]
    beliefs: Mapping[str, float]
    margin: float | None
    changes: tuple[Change, ...]

    @property
    def chosen(self) -> Weighed:
        """What to do."""
        return self.weighed[0]


def choose(options: Sequence[Option], beliefs: Mapping[str, float], facts: Mapping[str, Fact]) -> Choice:
    """The allowed option with the least expected loss; among equals the first given.

    Args:
        options: what can be done.
        beliefs: weights of hypotheses, at least one over 0; shares of their sum count.
        facts: what requirements ask about.

    Raises:
        InvalidInputError: no requirement of any option holds, or nothing is believed.
    """
    total = sum(beliefs.values())
    if total <= 0:
        raise _wrong("beliefs", "at least one hypothesis must have a weight over 0")
    shares = {name: weight / total for name, weight in beliefs.items()}
    weighed = [
        Weighed(o, _expected(o, shares), tuple(why for r in o.requires if (why := r.unmet(facts)))) for o in options
    ]
    allowed = sorted((w for w in weighed if not w.unmet), key=lambda w: w.expected_loss)
    if not allowed:
        reasons = "; ".join(f"{w.option.name}: {', '.join(w.unmet)}" for w in weighed)
        raise _wrong("options", f"none may be chosen ({reasons})")
    refused = sorted((w for w in weighed if w.unmet), key=lambda w: w.expected_loss)
    margin = allowed[1].expected_loss - allowed[0].expected_loss if len(allowed) > 1 else None
    changes = tuple(_changes(allowed, refused, shares))
    return Choice((*allowed, *refused), shares, margin, changes)


def _expected(option: Option, shares: Mapping[str, float]) -> float:
    return sum(share * option.loss(name) for name, share in shares.items())


def _changes(allowed: Sequence[Weighed], refused: Sequence[Weighed], shares: Mapping[str, float]) -> Iterator[Change]:
    best = allowed[0]
    for other in allowed[1:]:
        # The nearest change of a single belief that makes both equal, the others keeping their proportions.
        ties = [(abs(q - shares[name]), name, q) for name, q in _ties(best.option, other.option, shares)]
        if ties:
            _, name, needed = min(ties)
            yield Change(other.option.name, name, shares[name], needed)
    for other in refused:
        if other.expected_loss < best.expected_loss:
            yield Change(other.option.name, unmet=other.unmet)


def _ties(best: Option, other: Option, shares: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    for name, share in shares.items():
        here = other.loss(name) - best.loss(name)
        elsewhere = sum(s * (other.loss(n) - best.loss(n)) for n, s in shares.items() if n != name)
        if share < 1:
            elsewhere /= 1 - share
        if here != elsewhere and 0 <= (needed := elsewhere / (elsewhere - here)) <= 1 and needed != share:
            yield name, needed


def _wrong(name: str, message: str) -> InvalidInputError:
    return InvalidInputError.for_field(name, message)


def report(choice: Choice) -> dict[str, Any]:
    """As JSON: the fields of `MakeDecisionResponse`."""
    best = choice.chosen
    return {
        "decision": best.option.name,
        "expected_loss": best.expected_loss,
        "margin": choice.margin,
        "beliefs": dict(choice.beliefs),
        "options": [
            {
                "name": w.option.name,
                "expected_loss": w.expected_loss,
                "cost": w.option.cost,
                "losses": {name: w.option.loss(name) for name in choice.beliefs},
                "unmet": list(w.unmet),
            }
            for w in choice.weighed
        ],
        "would_change": [
            {
                "option": c.option,
                "hypothesis": c.hypothesis,
                "belief": c.belief,
                "needed": c.needed,
                "unmet": list(c.unmet),
            }
            for c in choice.changes
        ],
    }
