"""Questions to the Coordinator: one for a batch. Where it is refused, the task or the part of the report that it is
refused for is found, so that neither holds up the others."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from seedcore.errors import DeadlineError, OverloadedError
from seedcore.stores.postgres import DATABASE_ERRORS
from seedcore.tasks.model import Lease
from seedcore.utils.isolation import split_refused
from seedcore.worker.in_flight import Ledger
from seedcore.worker.ports import Brain, Decision, Feedback

REPORTED = ("outstanding", "outcomes", "energy", "watched", "spent")
"""The parts of a report that hold many items, each of which may be the one that is refused."""

Item = tuple[str, Any]
"""One item of a report: the name of its part, and its key there."""


@dataclass(slots=True)
class Answers:
    """What was decided, which tasks the Coordinator refuses to decide about, and why; the others wait."""

    decisions: dict[UUID, Decision] = field(default_factory=dict)
    refused: list[tuple[Lease, Exception]] = field(default_factory=list)
    interrupted: Exception | None = None


def is_refusal(error: Exception) -> bool:
    """Whether asking the same again later would change nothing, as far as the error tells."""
    return not isinstance(error, (DeadlineError, OverloadedError, OSError, *DATABASE_ERRORS))


class Questions:
    """Asks for decisions; `counts` says what had to be left out."""

    def __init__(self, brain: Brain, ledger: Ledger, log: Any, counts: dict[str, int] | None = None) -> None:
        self._brain, self._ledger, self._log = brain, ledger, log
        self.counts = {} if counts is None else counts
        self.counts |= {"refused_tasks": 0, "refused_reports": 0}

    async def decide(self, batch: Sequence[Lease]) -> Answers:
        """Decisions for a batch, with the report.

        Raises:
            Exception: nothing could be decided, and no task of the batch is to blame.
        """
        answers, report = Answers(), self._ledger.ask()
        try:
            await self._ask(batch, report, answers)
        except Exception as error:
            self._ledger.answered(report.question)
            if not is_refusal(error):
                self._ledger.unanswered(report)
                raise
            await self._part(batch, report, answers, error)
        except BaseException:
            self._ledger.unanswered(report)
            raise
        else:
            self._ledger.answered(report.question)
        return answers

    async def _ask(self, batch: Sequence[Lease], question: Feedback, answers: Answers) -> None:
        decisions = await self._brain.decide(batch, question)
        if len(decisions) != len(batch):
            raise ValueError(f"{len(decisions)} decisions for {len(batch)} tasks")
        for lease, decision in zip(batch, decisions, strict=True):
            lease.told = True
            answers.decisions[lease.id] = decision

    async def _part(self, batch: Sequence[Lease], report: Feedback, answers: Answers, error: Exception) -> None:
        """Find what a refused question was refused for."""
        left: dict[str, Any] = {name: dict(getattr(report, name)) for name in REPORTED}
        asked: list[int] = []

        def question(**parts: Any) -> Feedback:
            made = self._ledger.ask(report=False)
            asked.append(made.question)
            return replace(made, **parts)

        async def report_items(items: Sequence[Item]) -> None:
            parts: dict[str, dict[Any, Any]] = {name: {} for name in REPORTED}
            for name, key in items:
                parts[name][key] = left[name][key]
            await self._ask([], question(**parts), answers)
            for name, key in items:
                del left[name][key]

        async def tasks(part: Sequence[Lease]) -> None:
            await self._ask(part, question(), answers)

        def refused(item: Item, why: Exception) -> None:
            name, key = item
            del left[name][key]
            self._drop(name, key, why)

        try:
            # A question about nothing: where it is refused, too, no task and no item is to blame.
            await self._ask([], question(outstanding={}), answers)
            items = [(name, key) for name in REPORTED for key in left[name]]
            await split_refused(items, report_items, is_refusal, refused)
            await split_refused(batch, tasks, is_refusal, lambda lease, why: self._refuse(lease, why, answers))
        except Exception as gone:  # noqa: BLE001 - raised again, unless something was decided before it
            if not answers.decisions and not answers.refused:
                raise (error if is_refusal(gone) else gone) from None
            answers.interrupted = gone
        finally:
            # Until now, so that no question in between takes what they send to agents for known.
            for number in asked:
                self._ledger.answered(number)
            self._ledger.unanswered(replace(report, **left))

    def _refuse(self, lease: Lease, why: Exception, answers: Answers) -> None:
        self.counts["refused_tasks"] += 1
        self._log.warning("the Coordinator refuses a task", task=str(lease.id), type=lease.type, reason=reason_of(why))
        answers.refused.append((lease, why))

    def _drop(self, part: str, key: Any, why: Exception) -> None:
        self.counts["refused_reports"] += 1
        self._ledger.dropped()
        self._log.error(
            "the Coordinator refuses part of a report, dropped", part=part, item=str(key), reason=reason_of(why)
        )
        if part == "outstanding":
            self._ledger.leave_out(key)


def reason_of(error: Exception) -> str:
    """An error in one line, for the log and for the task."""
    return f"{type(error).__name__}: {error}"
