"""What is known about a failure, and how strongly it speaks for a cause: counts, and Bayes factors of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import e, exp, inf, lgamma, log
from typing import Any

JEFFREYS = 0.5
"""Of a share nobody knows: a beta law with both parameters so."""

LEAST_CHANCE = 1e-12


@dataclass(frozen=True, slots=True)
class End:
    """How a task of a stream ended: on which agent, after how many attempts; `recent`: inside the window."""

    stream: str
    ok: bool
    recent: bool
    attempts: int = 1
    code: str | None = None
    agent: str | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """Of `ends`, `failures` were failures."""

    failures: int
    ends: int

    @classmethod
    def of(cls, ends: Iterable[End]) -> "Tally":
        """Tasks by how they ended."""
        oks = [end.ok for end in ends]
        return cls(len(oks) - sum(oks), len(oks))

    @classmethod
    def of_attempts(cls, ends: Iterable[End]) -> "Tally":
        """Attempts of tasks: all but the last of a completed one failed."""
        counted = [(max(end.attempts, 1), end.ok) for end in ends]
        return cls(sum(attempts - ok for attempts, ok in counted), sum(attempts for attempts, _ in counted))

    def log_all_fail(self, count: int) -> float:
        """log P(the next `count` fail), given these."""
        a, b = self.failures + JEFFREYS, self.ends - self.failures + JEFFREYS
        return _log_beta(a + count, b) - _log_beta(a, b)

    def report(self) -> dict[str, int]:
        """As JSON."""
        return {"failures": self.failures, "ends": self.ends}


@dataclass(frozen=True, slots=True)
class Stream:
    """What a valve says of a stream's work.

    Attributes:
        state: `learning`, `closed`, `open`.
        evidence: in [0, 1), from 0.5 on it is an alarm; None: there is no valve yet.
        arl0: observations between its false alarms.
        since_alarm: observations since its last alarm.
    """

    state: str
    evidence: float | None = None
    arl0: float | None = None
    since_alarm: int | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """What a detector says of a series: points in all, those that stand out, and by what chance (None: unknown)."""

    name: str
    points: int
    places: tuple[int, ...] = ()
    highest_score: float | None = None
    chance: float | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What failed: a task, by the codes of its failed attempts, or a whole stream."""

    stream: str | None = None
    task: str | None = None
    codes: tuple[str, ...] = ()
    agent: str | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was read. `missing`: what could not be, and why, by hypothesis."""

    subject: Subject
    ends: Sequence[End] = ()
    valve: Stream | None = None
    series: Sequence[Series] = ()
    missing: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A cause, how much likelier than chance it makes what was seen (log), and the numbers that say so."""

    kind: str
    log_bayes: float
    numbers: dict[str, Any]
    about: str | None = None

    @property
    def name(self) -> str:
        """`kind`, or `kind:about`."""
        return self.kind if self.about is None else f"{self.kind}:{self.about}"


def log_more_often(inside: Tally, outside: Tally) -> float:
    """log Bayes factor of failures that are likelier inside than outside, against one share for both.

    Both shares unknown (beta-binomial). Where they are rarer inside, that speaks against it as far as a difference
    speaks for one: it is no more than even.
    """
    a = JEFFREYS
    prior = _log_beta(a, a)
    apart = sum(_log_beta(a + t.failures, a + t.ends - t.failures) - prior for t in (inside, outside))
    failures, ends = inside.failures + outside.failures, inside.ends + outside.ends
    together = _log_beta(a + failures, a + ends - failures) - prior
    rarer = inside.failures * outside.ends <= outside.failures * inside.ends
    return min(apart - together, 0.0) if rarer else apart - together


def log_from_chance(chance: float) -> float:
    """The most that something of this chance can speak for a cause: log of -1 / (e p ln p), from 1/e on nothing.

    Sellke, Bayarri and Berger (2001), calibration of p values.
    """
    p = max(chance, LEAST_CHANCE)
    return 0.0 if p >= 1 / e else -log(-e * p * log(p))


def beliefs(hypotheses: Sequence[Hypothesis]) -> list[float]:
    """Shares of belief, of causes that were equally likely beforehand."""
    highest = max((h.log_bayes for h in hypotheses), default=-inf)
    weights = [exp(h.log_bayes - highest) for h in hypotheses]
    return [weight / sum(weights) for weight in weights]


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
