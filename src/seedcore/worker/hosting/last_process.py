"""Takes over from an earlier process of the same name: what it had begun, and a journal for this one."""

from typing import NamedTuple

from seedcore.settings import Settings
from seedcore.worker.execution.begun_journal import BegunJournal, journal_path, open_journal
from seedcore.worker.execution.last_life import BegunCall, LastLife, last_life


class TakenOver(NamedTuple):
    """What the earlier process has left (None: nothing is known of one), and this one's journal (None: there can be
    none, and who comes next will know nothing)."""

    life: LastLife | None
    journal: BegunJournal | None

    @property
    def begun(self) -> list[BegunCall]:
        """The calls that had begun in the earlier process."""
        return [] if self.life is None else self.life.begun

    def status(self) -> dict[str, object]:
        """`{begun_journal: {begun_before, unnoted} or null}`: calls of the process before, and those without a note."""
        if self.journal is None:
            return {"begun_journal": None}
        return {"begun_journal": {"begun_before": len(self.begun), "unnoted": self.journal.unnoted}}


def take_over(settings: Settings, name: str) -> TakenOver:
    """Read what an earlier process of this name has left, and begin a journal in its place."""
    path = journal_path(settings, name)
    life = last_life(path)
    return TakenOver(life, open_journal(path, settings))
