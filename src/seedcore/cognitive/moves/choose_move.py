"""Chooses a move by its expected cost, from what was learnt; the same knowledge always gives the same choice.

Costs are in runs of the task's own skill. The expected cost of a move is what its steps cost, plus the loss when it
does not help times the chance of that. Chances are means of beta distributions: counts of the stream's own plans, and
those of memories of like incidents with the weight of their likeness.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from seedcore.cognitive.moves.possible_moves import EscalationMove, MoveKind
from seedcore.tasks.plans.moves import DirectEnd, MoveEnds, SampleState

FAILED = 10.0
"""The loss of a task that fails: it is run again by someone, and what waited for it waits longer."""

ASKED = 8.0
"""What a person's look at one task costs, and what a check that says no loses: a person then decides."""

DOUBT = 0.5
"""Added to an equivalent that never helped: types that agree do not prove that two skills mean the same."""

WAIT = 0.5
"""What the others lose by waiting for a first sample."""

FADING = 0.9
"""The weight of a direct run, for each newer one."""

OTHER_RUNS = 0.1
"""The weight of a direct run from before the work changed: it says little about the work of now."""

SAMPLE_COUNTS_S = 60.0
"""For how long a sample that passed is all that counts about running the task as it is."""

PRIOR: Mapping[MoveKind, tuple[float, float]] = {
    "as_is": (1.8, 2.0),
    "equivalent": (1.0, 2.0),
    "check_before": (1.0, 2.0),
    "check_after": (1.0, 2.0),
}
"""Before anything is known: how often a move helped, of how many."""

MAX_REMEMBERED_ENDS = 5


@dataclass(frozen=True, slots=True)
class RememberedMove:
    """A memory of a like incident: what was tried, how often it helped, and how running the task as it is went.

    `likeness` in [0, 1]; at most MAX_REMEMBERED_ENDS of `ends` count.
    """

    id: str
    text: str
    likeness: float
    move: str
    helped: float
    ends: float = 1.0
    direct_good: float = 0.0
    direct_bad: float = 0.0


@dataclass(frozen=True, slots=True)
class MoveKnowledge:
    """What is known before a move is chosen.

    Attributes:
        ends: the stream's own plans, by move.
        direct: direct runs, the newest first; `changed` says of each whether it came after the work had changed.
        remembered: memories of like incidents.
        sample: the stream's last first sample.
        waiting: how many tasks of the stream wait.
        sample_size: how many a first sample runs.
    """

    ends: Sequence[MoveEnds] = ()
    direct: Sequence[DirectEnd] = ()
    remembered: Sequence[RememberedMove] = ()
    sample: SampleState | None = None
    waiting: int = 0
    sample_size: int = 5


@dataclass(frozen=True, slots=True)
class PricedMove:
    """A move with its expected cost, the chance that it helps, and the counts behind that."""

    move: EscalationMove
    expected_cost: float
    chance: float
    helped: int = 0
    ends: int = 0
    memories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MoveChoice:
    """The chosen move first, then the others by expected cost."""

    options: tuple[PricedMove, ...]
    knowledge: MoveKnowledge = field(repr=False)

    @property
    def chosen(self) -> PricedMove:
        """The move to make."""
        return self.options[0]

    @property
    def reason(self) -> str:
        """The choice in a sentence."""
        best, rest = self.chosen, self.options[1:]
        text = f"{_words(best)}, expected to cost {best.expected_cost:.1f} runs"
        if best.memories:
            found = len(best.memories)
            text += f", by {found} {'memory' if found == 1 else 'memories'} of like incidents"
        return text + (f"; next {rest[0].move.name} ({rest[0].expected_cost:.1f})" if rest else "")


def choose_move(
    moves: Sequence[EscalationMove],
    known: MoveKnowledge,
    *,
    tried: Collection[str] = (),
    allowed: Collection[str] | None = None,
) -> MoveChoice:
    """The move of the least expected cost; of equal ones the first of `moves`.

    Args:
        moves: what there is, of which the last is a person.
        known: what was learnt.
        tried: moves that did not help this task.
        allowed: kinds that may be chosen, beside `as_is` and `person`; None: all.
    """
    kinds = {
        "as_is",
        "person",
        *(("equivalent", "check_before", "check_after", "sample") if allowed is None else allowed),
    }
    options = [
        _priced(move, known)
        for move in moves
        if move.kind in kinds and move.name not in tried and _makes_sense(move, known, tried)
    ]
    # While a sample runs, what comes meanwhile waits for it.
    first = not tried and _is_open(known)
    ranked = sorted(options, key=lambda o: (not (first and o.move.kind == "sample"), round(o.expected_cost, 9)))
    return MoveChoice(tuple(ranked), known)


def _makes_sense(move: EscalationMove, known: MoveKnowledge, tried: Collection[str]) -> bool:
    """A task that a check refused is not run all the same, and a sample needs others that wait for it."""
    if move.kind == "as_is":
        return not any(name.startswith("check_before:") for name in tried)
    return move.kind != "sample" or _can_sample(known, tried)


def _can_sample(known: MoveKnowledge, tried: Collection[str]) -> bool:
    """Whether a sample runs, or enough tasks wait and the last one did not just pass."""
    enough = known.waiting > known.sample_size and not _just_passed(known)
    return not tried and (enough or _is_open(known))


def _is_open(known: MoveKnowledge) -> bool:
    return known.sample is not None and known.sample.status == "open"


def _just_passed(known: MoveKnowledge) -> bool:
    return known.sample is not None and known.sample.status == "passed" and known.sample.age_s < SAMPLE_COUNTS_S


def _priced(move: EscalationMove, known: MoveKnowledge) -> PricedMove:
    if move.kind == "person":
        return PricedMove(move, ASKED, 1.0)
    if move.kind in ("as_is", "sample"):
        chance, memories = _chance_as_is(known)
        if move.kind == "as_is":
            return PricedMove(move, move.cost + (1 - chance) * FAILED, chance, memories=memories)
        share = known.sample_size / max(known.waiting, known.sample_size)
        lost = share * FAILED + (1 - share) * ASKED
        return PricedMove(move, move.cost + WAIT + (1 - chance) * lost, chance, memories=memories)
    good, of = PRIOR[move.kind]
    own = next((ends for ends in known.ends if ends.move == move.name), None)
    helped, ends = (0, 0) if own is None else (own.helped, own.ends)
    recalled = [memory for memory in known.remembered if memory.move == move.name]
    good += helped + sum(_weight(memory) * memory.helped / memory.ends for memory in recalled)
    of += ends + sum(_weight(memory) for memory in recalled)
    chance, cost = good / of, move.cost
    if move.kind == "equivalent":
        cost += (1 - chance) * FAILED
        cost += 0.0 if helped or any(memory.helped for memory in recalled) else DOUBT
    else:
        cost += (1 - chance) * ASKED
    return PricedMove(move, cost, chance, helped, ends, tuple(memory.id for memory in recalled))


def _weight(memory: RememberedMove) -> float:
    return memory.likeness * min(memory.ends, MAX_REMEMBERED_ENDS)


def _chance_as_is(known: MoveKnowledge) -> tuple[float, tuple[str, ...]]:
    good, of = PRIOR["as_is"]
    if _just_passed(known):
        assert known.sample is not None
        return (good + known.sample.good) / (of + known.sample.good + known.sample.bad), ()
    weight = 1.0
    for end in known.direct:
        counted = weight if end.changed else weight * OTHER_RUNS
        good, of = good + counted * end.ok, of + counted
        weight *= FADING
    # Several memories of one incident say the same of it: the likest counts.
    best = max(known.remembered, key=lambda m: m.likeness * (m.direct_good + m.direct_bad), default=None)
    if best is None or not best.direct_good + best.direct_bad:
        return good / of, ()
    scale = best.likeness * min(1.0, MAX_REMEMBERED_ENDS / (best.direct_good + best.direct_bad))
    return (good + scale * best.direct_good) / (of + scale * (best.direct_good + best.direct_bad)), (best.id,)


def _words(priced: PricedMove) -> str:
    move = priced.move
    if move.kind == "as_is":
        return f"run as it is ({priced.chance:.0%} complete)"
    if move.kind == "sample":
        return f"a first sample runs before the others ({priced.chance:.0%} complete)"
    if move.kind == "person":
        return "a person decides"
    seen = f"helped {priced.helped} of {priced.ends} times" if priced.ends else "not tried for this stream"
    what = {"equivalent": "in its place", "check_before": "checks it before", "check_after": "checks it after"}
    return f"{move.skill} {what[move.kind]} ({seen})"
