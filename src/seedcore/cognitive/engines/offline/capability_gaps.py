"""Gaps between what SeedCore is asked for and what it can do, from statistics of ended tasks."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from seedcore.pricing.wilson import wilson
from seedcore.schemas.cognitive.capabilities import CapabilityGap
from seedcore.skills.signatures import Signature
from seedcore.tasks.failure_codes import NOT_FAILURES_OF_THE_WORK, FailureCode
from seedcore.tasks.history import EndsOfType

MIN_ENDS = 5
FAILING = 0.1
"""A skill fails too often when the lower end of the interval of its failure rate (Wilson, 95 %) is above this."""


@dataclass(frozen=True, slots=True)
class OpenGoal:
    """A goal that tasks asked for and that no plan reaches today: how many tasks, and which fields are missing."""

    goal: str
    tasks: int
    why: str
    missing: Mapping[str, str] = field(default_factory=dict)


def capability_gaps(
    ends: Sequence[EndsOfType], goals: Iterable[OpenGoal], skills: Mapping[str, Signature], most: int
) -> list[CapabilityGap]:
    """Gaps, those behind the most tasks first; at most `most` of each kind."""
    found = [*_rejected(ends, skills), *_goals(goals), *_failing(ends, skills)]
    found.sort(key=lambda gap: (-gap.count, gap.kind, gap.name))
    kept: Counter[str] = Counter()
    gaps: list[CapabilityGap] = []
    for gap in found:
        kept[gap.kind] += 1
        if kept[gap.kind] <= most:
            gaps.append(gap)
    return gaps


def _rejected(ends: Sequence[EndsOfType], skills: Mapping[str, Signature]) -> Iterator[CapabilityGap]:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in ends:
        if row.code == FailureCode.POLICY_REJECTED:
            counts[row.type][row.rule or "unknown"] += row.ends
    for name, rules in counts.items():
        known = name in skills
        yield CapabilityGap(
            kind="rejected_type",
            name=name,
            count=rules.total(),
            detail=f"{rules.total()} tasks of the type were rejected by {', '.join(sorted(rules))}.",
            suggestion="Change the rule, or stop submitting such tasks."
            if known
            else "No skill has this type: write one, or load its package (SEEDCORE_SKILLS).",
            numbers={"rules": dict(rules), "skill_exists": known},
        )


def _goals(goals: Iterable[OpenGoal]) -> Iterator[CapabilityGap]:
    fields: Counter[str] = Counter()
    needs: dict[str, str] = {}
    for each in goals:
        yield CapabilityGap(
            kind="unreached_goal",
            name=each.goal[:300],
            count=each.tasks,
            detail=each.why[:1000],
            suggestion="Give what is missing as an input, or write a skill that makes it."
            if each.missing
            else "Name a field or a skill, or set up a language model (LLM_PROVIDER).",
            numbers={"missing": sorted(each.missing)},
        )
        for name, message in each.missing.items():
            fields[name] += each.tasks
            needs.setdefault(name, message)
    for name, count in fields.items():
        yield CapabilityGap(
            kind="missing_field",
            name=name[:300],
            count=count,
            detail=f"{count} goals lack {name}: {needs[name]}."[:1000],
            suggestion="A skill with this field in its result would reach them.",
        )


def _failing(ends: Sequence[EndsOfType], skills: Mapping[str, Signature]) -> Iterator[CapabilityGap]:
    total: Counter[str] = Counter()
    failed: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in ends:
        if row.type in skills and row.code not in NOT_FAILURES_OF_THE_WORK:
            total[row.type] += row.ends
            if row.code is not None:
                failed[row.type][row.code] += row.ends
    for name, codes in failed.items():
        failures = codes.total()
        low, high = wilson(failures, total[name])
        if total[name] >= MIN_ENDS and low > FAILING:
            worst = codes.most_common(1)[0][0]
            yield CapabilityGap(
                kind="failing_skill",
                name=name,
                count=failures,
                detail=f"{failures} of {total[name]} tasks failed, most with {worst}.",
                suggestion=f"Look at its dead letters (GET /api/v1/dead); docs/errors.md explains {worst}.",
                numbers={
                    "ends": total[name],
                    "failures": failures,
                    "failure_rate": round(failures / total[name], 4),
                    "at_least": round(low, 4),
                    "at_most": round(high, 4),
                    "codes": dict(codes),
                },
            )
