"""Evidence about a failure: counts of ended tasks, and Bayes factors for causes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import e, exp, inf, lgamma, log

JEFFREYS = 0.5
"""Both parameters of the beta prior of an unknown share."""

MIN_CHANCE = 1e-12


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
    """How many of `ends` were failures."""

    failures: int
    ends: int

    @classmethod
    def of(cls, ends: Iterable[End]) -> "Tally":
        """Counts tasks."""
        oks = [end.ok for end in ends]
        return cls(len(oks) - sum(oks), len(oks))

    @classmethod
    def of_attempts(cls, ends: Iterable[End]) -> "Tally":
        """Counts attempts: all attempts failed, except the last one of a completed task."""
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
class ValveReading:
    """The state of a stream's valve.

    Attributes:
        state: `learning`, `closed`, `open`.
        evidence: in [0, 1), an alarm from 0.5; None while the valve is learning.
        arl0: observations between its false alarms.
        since_alarm: observations since its last alarm.
    """

    state: str
    evidence: float | None = None
    arl0: float | None = None
    since_alarm: int | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """The anomalies of a series: all points, the places of those that stand out, and their chance (None: unknown)."""

    name: str
    points: int
    places: tuple[int, ...] = ()
    highest_score: float | None = None
    chance: float | None = None


@dataclass(frozen=True, slots=True)
class ModelReading:
    """A monitor of a model in use.

    Attributes:
        name: of the model.
        monitor: `inputs`, `losses` or `accuracy`.
        evidence: in [0, 1], an alarm from 0.5.
        observed: what it had seen at its alarm.
        arl0: observations between its false alarms.
    """

    name: str
    monitor: str
    evidence: float
    observed: int
    arl0: float


@dataclass(frozen=True, slots=True)
class Subject:
    """What failed: a task, with the codes of its failed attempts, or a whole stream."""

    stream: str | None = None
    task: str | None = None
    codes: tuple[str, ...] = ()
    agent: str | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known. `missing`: hypotheses that cannot be judged, and why."""

    subject: Subject
    ends: Sequence[End] = ()
    valve: ValveReading | None = None
    series: Sequence[Series] = ()
    missing: dict[str, str] = field(default_factory=dict)
    model: ModelReading | None = None


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A possible cause: its log Bayes factor against chance, and the numbers behind it."""

    kind: str
    log_bayes: float
    numbers: Mapping[str, object]
    about: str | None = None

    @property
    def name(self) -> str:
        """`kind`, or `kind:about`."""
        return self.kind if self.about is None else f"{self.kind}:{self.about}"


def log_more_often(inside: Tally, outside: Tally) -> float:
    """log Bayes factor of "failures are likelier inside than outside" against one share for both.

    Both shares are unknown (beta-binomial). If failures are rarer inside, the factor is at most 1 (log 0).
    """
    a = JEFFREYS
    prior = _log_beta(a, a)
    separate = sum(_log_beta(a + t.failures, a + t.ends - t.failures) - prior for t in (inside, outside))
    failures, ends = inside.failures + outside.failures, inside.ends + outside.ends
    together = _log_beta(a + failures, a + ends - failures) - prior
    rarer = inside.failures * outside.ends <= outside.failures * inside.ends
    return min(separate - together, 0.0) if rarer else separate - together


def log_from_chance(chance: float) -> float:
    """Upper bound of the log Bayes factor for a p value: log of -1 / (e p ln p), and 0 from p = 1/e.

    Sellke, Bayarri and Berger (2001), calibration of p values.
    """
    p = max(chance, MIN_CHANCE)
    return 0.0 if p >= 1 / e else -log(-e * p * log(p))


def beliefs(hypotheses: Sequence[Hypothesis]) -> list[float]:
    """Posterior shares of causes that are equally likely a priori."""
    highest = max((h.log_bayes for h in hypotheses), default=-inf)
    weights = [exp(h.log_bayes - highest) for h in hypotheses]
    return [weight / sum(weights) for weight in weights]


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
