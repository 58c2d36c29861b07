"""Ranks possible causes of a failure by their Bayes factors against chance. No language model is involved."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, log

from seedcore.cognitive.engines.offline.evidence import (
    End,
    Evidence,
    Hypothesis,
    Series,
    Tally,
    log_from_chance,
    log_more_often,
)

CHANCE = "chance"
"""The hypothesis that all others are compared with: the stream always fails this often."""

ALARM = 0.5
"""The evidence at which a monitor alarms."""


@dataclass(frozen=True, slots=True)
class RankedHypotheses:
    """Hypotheses, the likeliest first; `absent`: those that could not be judged, and why."""

    hypotheses: tuple[Hypothesis, ...]
    absent: dict[str, str]


def reason(evidence: Evidence) -> RankedHypotheses:
    """Rank possible causes of a failure.

    | cause | meaning |
    |---|---|
    | `chance` | the stream always fails this often |
    | `input` | this task's input fails on every agent |
    | `agent`, `host` | tasks fail more often there than elsewhere |
    | `change` | the stream fails more often now than before |
    | `environment` | other streams also fail more often now (with the task's code, if it has one) |
    | `work_changed` | the stream's work stopped looking like its past |
    | `incident` | a given series has anomalous points |
    | `model_outdated` | what a model sees, or is wrong about, is no longer as when it was trained |
    """
    judge = _Judge(evidence)
    found = [judge.chance(), *judge.input(), *judge.places(), *judge.times(), *judge.valve(), *judge.incidents()]
    found += judge.model()
    found.sort(key=lambda h: -h.log_bayes)
    return RankedHypotheses(tuple(found), judge.absent)


class _Judge:
    def __init__(self, evidence: Evidence) -> None:
        self.evidence, self.subject = evidence, evidence.subject
        self.absent = dict(evidence.missing)
        self.own = [end for end in evidence.ends if end.stream == self.subject.stream]
        self.others = [end for end in evidence.ends if end.stream != self.subject.stream]
        self.failed = len(self.subject.codes)
        self.usual = Tally.of_attempts(self.own)

    def chance(self) -> Hypothesis:
        return Hypothesis(CHANCE, 0.0, {"attempts": self.usual.report()} if self.own else {})

    def input(self) -> Iterator[Hypothesis]:
        if self.subject.task is None:
            return
        if not self.own:
            self.absent["input"] = "no other task of its stream ended recently"
            return
        codes = Counter(self.subject.codes)
        numbers = {"failed_attempts": self.failed, "codes": dict(codes), "others": self.usual.report()}
        yield Hypothesis("input", -self._by_chance(), numbers)

    def places(self) -> Iterator[Hypothesis]:
        """The task's own agent and host; for a stream, those that stand out most, corrected for the number compared."""
        kinds: tuple[tuple[str, str | None, Callable[[End], str | None]], ...] = (
            ("agent", self.subject.agent, lambda end: end.agent),
            ("host", self.subject.host, lambda end: end.host),
        )
        for kind, own, place in kinds:
            ends = [end for end in self.own if place(end) is not None]
            known = {place(end) for end in ends}
            suspects = sorted(str(name) for name in known if own in (None, name))
            if len(known) < 2 or not suspects:
                self.absent[kind] = f"no second {kind} to compare with" if own is None or known else "none is known"
                continue
            hypotheses = [self._place(kind, name, ends, place) for name in suspects]
            best = max(hypotheses, key=lambda h: h.log_bayes)
            yield Hypothesis(
                kind, best.log_bayes - log(len(suspects)), {**best.numbers, "compared": len(known)}, best.about
            )

    def _place(self, kind: str, name: str, ends: Sequence[End], place: Callable[[End], str | None]) -> Hypothesis:
        inside = Tally.of(end for end in ends if place(end) == name)
        outside = Tally.of(end for end in ends if place(end) != name)
        seen = log_more_often(inside, outside) + self._more_likely(inside)
        return Hypothesis(kind, seen, {"inside": inside.report(), "outside": outside.report()}, name)

    def times(self) -> Iterator[Hypothesis]:
        """Now against before: for the stream itself, and for all others."""
        code = self.subject.codes[-1] if self.subject.codes else None
        shared = [end if end.code == code or code is None else _as_ok(end) for end in self.others]
        for kind, ends in (("change", self.own), ("environment", shared)):
            now, before = (Tally.of(end for end in ends if end.recent is when) for when in (True, False))
            if not now.ends or not before.ends:
                self.absent[kind] = f"{now.ends} ends in the window and {before.ends} before it: nothing to compare"
                continue
            own = self._more_likely(now) if kind == "change" else 0.0
            numbers = {"now": now.report(), "before": before.report()}
            if kind == "environment":
                numbers["streams"] = {"failing": len({end.stream for end in ends if end.recent and not end.ok})}
            yield Hypothesis(kind, log_more_often(now, before) + own, numbers, code if kind == "environment" else None)

    def valve(self) -> Iterator[Hypothesis]:
        valve = self.evidence.valve
        if valve is None:
            self.absent.setdefault("work_changed", "no valve watches the stream")
        elif valve.state != "open" or valve.arl0 is None:
            known = (
                "no evidence yet" if valve.evidence is None else f"evidence {valve.evidence:.3g}, an alarm is at 0.5"
            )
            self.absent["work_changed"] = f"its valve is {valve.state}: {known}"
        else:
            seen = max(sum(end.recent for end in self.own), valve.since_alarm or 0, 1)
            chance = 1.0 - exp(-seen / valve.arl0)
            numbers = {"evidence": valve.evidence, "observations": seen, "arl0": valve.arl0, "chance": chance}
            yield Hypothesis("work_changed", log_from_chance(chance), numbers)

    def incidents(self) -> Iterator[Hypothesis]:
        many = len(self.evidence.series)
        for series in self.evidence.series:
            if not series.places:
                self.absent[f"incident:{series.name}"] = f"none of {series.points} points stands out"
            elif series.chance is None:
                self.absent[f"incident:{series.name}"] = f"{len(series.places)} points stand out, with unknown chance"
            else:
                yield _incident(series, many)

    def model(self) -> Iterator[Hypothesis]:
        model = self.evidence.model
        if model is None:
            return
        if model.evidence < ALARM:
            self.absent[f"model_outdated:{model.name}"] = f"evidence {model.evidence:.3g}, an alarm is at {ALARM}"
            return
        seen = max(model.observed, 1)
        chance = 1.0 - exp(-seen / model.arl0)
        numbers = {
            "monitor": model.monitor,
            "evidence": model.evidence,
            "observations": seen,
            "arl0": model.arl0,
            "chance": chance,
        }
        yield Hypothesis("model_outdated", log_from_chance(chance), numbers, model.name)

    def _by_chance(self) -> float:
        """log P(the task's own failed attempts), at the stream's usual share."""
        return self.usual.log_all_fail(self.failed)

    def _more_likely(self, tally: Tally) -> float:
        return tally.log_all_fail(self.failed) - self._by_chance()


def _incident(series: Series, many: int) -> Hypothesis:
    chance = min(1.0, many * (series.chance or 0.0))
    numbers = {
        "points": series.points,
        "stand_out": len(series.places),
        "first": series.places[0],
        "last": series.places[-1],
        "highest_score": series.highest_score,
        "chance": chance,
    }
    return Hypothesis("incident", log_from_chance(chance), numbers, series.name)


def _as_ok(end: End) -> End:
    """A failure of another code says nothing about this one."""
    return End(end.stream, True, end.recent, end.attempts, end.code, end.agent, end.host)
