"""What happened in `make demo-memory`: two occurrences of one incident, and what each took to be solved."""

from dataclasses import asdict, dataclass, field


@dataclass(slots=True)
class Occurrence:
    """One occurrence of the incident, in one market.

    Attributes:
        market: where.
        unnoticed: changed tasks before the valve opened.
        tasks: changed tasks, from the first that was escalated to the one that was answered.
        runs: runs of skills that these took: each a step, or the task itself.
        asked: how many of them waited for a person.
        tried: the skills that ran, in order, and whether they completed.
        solved_by: the move that helped; None: none did.
        memories: how many memories it cites.
        reason: of that decision, in words.
        seconds: from the first escalated task to the answer.
    """

    market: str
    unnoticed: int = 0
    tasks: int = 0
    runs: int = 0
    asked: int = 0
    tried: list[tuple[str, bool]] = field(default_factory=list)
    solved_by: str | None = None
    memories: int = 0
    reason: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class MemoryStory:
    """Both occurrences, and what memory held between them."""

    first: Occurrence
    second: Occurrence
    remembered: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """Why this is not the story that the demo promises; empty: it is."""
        wrong = [f"{one.market}: not solved" for one in (self.first, self.second) if one.solved_by is None]
        if not self.remembered:
            wrong.append("memory holds nothing of the first occurrence")
        if not wrong and self.second.solved_by != self.first.solved_by:
            wrong.append(f"solved by {self.second.solved_by}, not by what helped first")
        if not wrong and not self.second.memories:
            wrong.append("the second solution cites no memory")
        if not wrong and self.second.runs >= self.first.runs:
            wrong.append(f"the second took {self.second.runs} runs, and the first {self.first.runs}")
        return wrong

    def as_json(self) -> dict[str, object]:
        """All of it."""
        both = {"first": asdict(self.first), "second": asdict(self.second), "remembered": self.remembered}
        return {"good": not self.problems(), "problems": self.problems(), **both}
