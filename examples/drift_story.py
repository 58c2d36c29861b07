"""What happened in `make demo-drift`: every answered task, every event that was seen, and whether it is the story."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

EVENTS = ("shift", "alarm", "retraining", "candidate", "promotion")
WORDS = {
    "shift": "the scanner turns: the only thing that is scripted",
    "alarm": "a monitor of the model opens",
    "retraining": "there are enough new labels: triage retrains",
    "candidate": "the new version answers in the old one's shadow",
    "promotion": "the gate finds it better, and it answers now",
}


@dataclass(slots=True)
class StoryEvent:
    """Something that was observed: after how many tasks of the stream, at which second, and what exactly."""

    name: str
    task: int
    at_s: float
    detail: str


@dataclass(slots=True)
class AnsweredTask:
    """One task of the stream: its number, whether it came after the shift, who answered, and whether it was right."""

    number: int
    shifted: bool
    version: int
    right: bool


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the stream: how many tasks were answered, and how many of them rightly."""

    name: str
    tasks: int
    right: int

    @property
    def accuracy(self) -> float | None:
        """The share of right answers; None: there are none."""
        return self.right / self.tasks if self.tasks else None


@dataclass(slots=True)
class Story:
    """All that was observed.

    Attributes:
        model: its name.
        events: by name, the first of each.
        failed: tasks of the stream that did not complete.
        notes: what was unusual.
    """

    model: str = ""
    trained_accuracy: float | None = None
    first_version: int = 0
    last_version: int = 0
    answered: list[AnsweredTask] = field(default_factory=list)
    events: dict[str, StoryEvent] = field(default_factory=dict)
    submitted: int = 0
    failed: int = 0
    seconds: float = 0.0
    promotion: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note_event(self, name: str, task: int, at_s: float, detail: str) -> bool:
        """Keep the first event of a name; whether it is new."""
        if name in self.events:
            return False
        self.events[name] = StoryEvent(name, task, at_s, detail)
        return True

    def parts(self) -> tuple[list[AnsweredTask], list[AnsweredTask], list[AnsweredTask]]:
        """The tasks before the shift, those after it that the first version answered, and those that a new one did."""
        before = [one for one in self.answered if not one.shifted]
        after = [one for one in self.answered if one.shifted and one.version != self.first_version]
        between = [one for one in self.answered if one.shifted and one.version == self.first_version]
        return before, between, after

    def phases(self) -> list[Phase]:
        """Before the shift, from the shift to the promotion, and what the promoted version answered."""
        named = zip(("before the shift", "after it, old version", "after it, new version"), self.parts(), strict=True)
        return [Phase(name, len(part), sum(one.right for one in part)) for name, part in named]

    def problems(self, least_after: int) -> list[str]:
        """Why this is not the story that the demo promises; empty: it is."""
        wrong = [f"no {name}: {WORDS[name]}" for name in EVENTS if name not in self.events]
        known = [self.events[name] for name in EVENTS if name in self.events]
        if [event.task for event in known] != sorted(event.task for event in known):
            wrong.append(f"events in another order: {', '.join(event.name for event in known)}")
        before, between, after = self.phases()
        if after.tasks < least_after:
            wrong.append(f"only {after.tasks} tasks were answered by the new version, not {least_after}")
        if before.accuracy is None or between.accuracy is None or after.accuracy is None:
            wrong.append("a phase without an answer")
        else:
            if between.accuracy > before.accuracy - 0.1:
                wrong.append("the shift did not make the model worse")
            if after.accuracy < between.accuracy + 0.1:
                wrong.append("the new version is not better than the old one")
        if self.failed:
            wrong.append(f"{self.failed} tasks failed")
        if self.promotion and self.promotion.get("forced"):
            wrong.append("the promotion was forced")
        return wrong

    def as_json(self, least_after: int) -> dict[str, object]:
        """All of it, without the single tasks."""
        return {
            "good": not self.problems(least_after),
            "problems": self.problems(least_after),
            "model": self.model,
            "versions": [self.first_version, self.last_version],
            "held_out_accuracy": self.trained_accuracy,
            "phases": [asdict(phase) | {"accuracy": phase.accuracy} for phase in self.phases()],
            "events": [asdict(self.events[name]) for name in EVENTS if name in self.events],
            "submitted": self.submitted,
            "failed": self.failed,
            "seconds": round(self.seconds, 1),
            "promotion": self.promotion,
            "notes": self.notes,
        }


def rolling(answered: Sequence[AnsweredTask], width: int) -> list[tuple[int, float]]:
    """(number of the last task, share of right answers) of each `width` tasks in a row."""
    ordered = sorted(answered, key=lambda one: one.number)
    points, right = [], 0
    for place, one in enumerate(ordered):
        right += one.right
        if place >= width:
            right -= ordered[place - width].right
        if place >= width - 1:
            points.append((one.number, right / width))
    return points
