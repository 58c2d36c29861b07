"""Requests for decisions: one for a batch.

Where the Coordinator refuses a request, the task or the part of the report that it refuses is found, so that neither
holds up the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from structlog.typing import FilteringBoundLogger

from seedcore.errors import DeadlineError, OverloadedError
from seedcore.stores.postgres import DATABASE_ERRORS
from seedcore.tasks.model import Lease
from seedcore.utils.batch_split import split_refused
from seedcore.worker.decisions.feedback import FeedbackCollector
from seedcore.worker.outcome_records import reason_of
from seedcore.worker.ports import DecisionService, Feedback, RouteDecision

REPORTED = ("outstanding", "outcomes", "energy", "watched", "spent")
"""The parts of a report that hold many items, each of which may be the one that is refused."""

Item = tuple[str, object]
"""One item of a report: the name of its part, and its key there."""


@dataclass(slots=True)
class BatchDecisions:
    """What was decided, and the tasks that the Coordinator refuses to decide about, with the error.

    Tasks in neither wait; `interrupted` is why.
    """

    decisions: dict[UUID, RouteDecision] = field(default_factory=dict)
    refused: list[tuple[Lease, Exception]] = field(default_factory=list)
    interrupted: Exception | None = None


def is_refusal(error: Exception) -> bool:
    """Whether the same request would fail again later, as far as the error says."""
    return not isinstance(error, (DeadlineError, OverloadedError, OSError, *DATABASE_ERRORS))


class DecisionRequests:
    """Asks for decisions; `counts` says what had to be left out."""

    def __init__(
        self,
        service: DecisionService,
        feedback: FeedbackCollector,
        log: FilteringBoundLogger,
        counts: dict[str, int] | None = None,
    ) -> None:
        self._service, self._feedback, self._log = service, feedback, log
        self.counts = {} if counts is None else counts
        self.counts |= {"refused_tasks": 0, "refused_reports": 0}

    async def decide(self, batch: Sequence[Lease]) -> BatchDecisions:
        """Decisions for a batch, with the report.

        Raises:
            Exception: nothing could be decided, and no task of the batch is to blame.
        """
        answers, report = BatchDecisions(), self._feedback.take()
        try:
            await self._request(batch, report, answers)
        except Exception as error:
            self._feedback.answered(report.question)
            if not is_refusal(error):
                self._feedback.failed(report)
                raise
            await self._isolate(batch, report, answers, error)
        except BaseException:
            self._feedback.failed(report)
            raise
        else:
            self._feedback.answered(report.question)
        return answers

    async def _request(self, batch: Sequence[Lease], feedback: Feedback, answers: BatchDecisions) -> None:
        decisions = await self._service.decide(batch, feedback)
        if len(decisions) != len(batch):
            raise ValueError(f"{len(decisions)} decisions for {len(batch)} tasks")
        for lease, decision in zip(batch, decisions, strict=True):
            lease.reported_to_valves = True
            answers.decisions[lease.id] = decision

    async def _isolate(
        self, batch: Sequence[Lease], report: Feedback, answers: BatchDecisions, error: Exception
    ) -> None:
        """Find what a refused request was refused for."""
        left: dict[str, Any] = {name: dict(getattr(report, name)) for name in REPORTED}
        questions: list[int] = []

        def question(**parts: Any) -> Feedback:
            made = self._feedback.take(report=False)
            questions.append(made.question)
            return replace(made, **parts)

        async def report_items(items: Sequence[Item]) -> None:
            parts: dict[str, dict[object, object]] = {name: {} for name in REPORTED}
            for name, key in items:
                parts[name][key] = left[name][key]
            await self._request([], question(**parts), answers)
            for name, key in items:
                del left[name][key]

        async def decide_part(part: Sequence[Lease]) -> None:
            await self._request(part, question(), answers)

        def drop_item(item: Item, why: Exception) -> None:
            name, key = item
            del left[name][key]
            self._drop(name, key, why)

        try:
            # A question about nothing: where it is refused, too, no task and no item is to blame.
            await self._request([], question(outstanding={}), answers)
            items = [(name, key) for name in REPORTED for key in left[name]]
            await split_refused(items, report_items, is_refusal, drop_item)
            await split_refused(batch, decide_part, is_refusal, lambda lease, why: self._refuse(lease, why, answers))
        except Exception as interruption:  # noqa: BLE001 - raised again, unless something was decided before it
            if not answers.decisions and not answers.refused:
                raise (error if is_refusal(interruption) else interruption) from None
            answers.interrupted = interruption
        finally:
            # Until now, so that no question in between takes what they send to agents for known.
            for number in questions:
                self._feedback.answered(number)
            self._feedback.failed(replace(report, **left))

    def _refuse(self, lease: Lease, why: Exception, answers: BatchDecisions) -> None:
        self.counts["refused_tasks"] += 1
        self._log.warning("coordinator refused a task", task=str(lease.id), type=lease.type, reason=reason_of(why))
        answers.refused.append((lease, why))

    def _drop(self, part: str, key: object, why: Exception) -> None:
        self.counts["refused_reports"] += 1
        self._feedback.count_dropped()
        self._log.error(
            "coordinator refused an item of the report, dropping it", part=part, item=str(key), reason=reason_of(why)
        )
        if part == "outstanding" and isinstance(key, tuple):
            self._feedback.exclude(key)
