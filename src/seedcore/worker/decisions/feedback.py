"""What a dispatcher reports to the Coordinator with its questions: what waits where, and how tasks went."""

from dataclasses import replace

from seedcore.changepoint.features import outcome_features
from seedcore.pricing.outcome_sums import Sums
from seedcore.skills.host_protocol import Completion
from seedcore.worker.decisions.stream_samples import OUTCOMES
from seedcore.worker.ports import Feedback, RouteDecision, StreamOutcomes


class FeedbackCollector:
    """Collects feedback between questions. What goes with a question that fails is reported again with the next one."""

    def __init__(self) -> None:
        self._next = Feedback()
        self._undecided: set[int] = set()
        self._excluded: set[tuple[str, str]] = set()

    def sent(self, agent: str, task_type: str) -> None:
        """A task was sent to an agent."""
        outstanding = self._next.outstanding
        outstanding[agent, task_type] = outstanding.get((agent, task_type), 0) + 1

    def returned(self, agent: str, task_type: str) -> None:
        """A task that may have been sent to an agent is over there."""
        outstanding = self._next.outstanding
        left = outstanding.get((agent, task_type), 1) - 1
        if left > 0:
            outstanding[agent, task_type] = left
        else:
            outstanding.pop((agent, task_type), None)

    def record_completion(
        self, completion: Completion, decision: RouteDecision | None = None, domain: str | None = None
    ) -> None:
        """An agent answered: its time and success, and what `decision` expected of it."""
        self._record_outcome((domain, completion.skill), completion)
        key = (completion.agent, completion.skill)
        count, seconds, good = self._next.outcomes.get(key, (0, 0.0, 0))
        self._next.outcomes[key] = (count + 1, seconds + completion.seconds, good + completion.ok)
        if completion.usage is not None and (money := completion.usage[1]) > 0:
            count, so_far = self._next.spent.get(key, (0, 0.0))
            self._next.spent[key] = (count + 1, so_far + money)
        if decision is not None and (expected := decision.expected) is not None:
            energy = self._next.energy
            sums = energy.get(completion.skill)
            if sums is None:
                sums = energy[completion.skill] = Sums()
            sums.add(expected, completion.seconds, completion.ok)

    def _record_outcome(self, stream: tuple[str | None, str], completion: Completion) -> None:
        watched = self._next.watched.get(stream)
        if watched is None:
            watched = self._next.watched[stream] = StreamOutcomes()
        watched.seen += 1
        if len(watched.rows) < OUTCOMES:
            error = None if completion.ok else completion.error_code or "failed"
            watched.rows.append(outcome_features(completion.seconds, completion.ok, error))

    def count_unplanned(self) -> None:
        """A task runs as it is because no plan was available."""
        self._next.unplanned += 1

    def count_dropped(self) -> None:
        """An item of a report was dropped: the Coordinator refuses it."""
        self._next.dropped += 1

    def exclude(self, key: tuple[str, str]) -> None:
        """The Coordinator refuses to hear what waits for this (agent, type): questions go on without it."""
        self._excluded.add(key)

    def take(self, *, report: bool = True) -> Feedback:
        """What goes to the Coordinator with a question. Without `report` outcomes stay here for a later one.

        `answered` or `failed` must follow.
        """
        known = self._next
        question = known.question = known.question + 1
        outstanding = {key: count for key, count in known.outstanding.items() if key not in self._excluded}
        undecided = tuple(self._undecided)
        self._undecided.add(question)
        if not report:
            return Feedback(outstanding, question=question, undecided=undecided)
        taken = replace(known, outstanding=outstanding, undecided=undecided)
        known.outcomes, known.energy, known.watched, known.spent = {}, {}, {}, {}
        known.unplanned = known.dropped = 0
        return taken

    def answered(self, question: int) -> None:
        """What the answer sends to agents counts as sent from now on."""
        self._undecided.discard(question)

    def failed(self, feedback: Feedback) -> None:
        """The question failed: report these outcomes with the next one."""
        self._undecided.discard(feedback.question)
        self._next.unplanned += feedback.unplanned
        self._next.dropped += feedback.dropped
        for key, (count, seconds, good) in feedback.outcomes.items():
            n, s, g = self._next.outcomes.get(key, (0, 0.0, 0))
            self._next.outcomes[key] = (n + count, s + seconds, g + good)
        for key, (count, money) in feedback.spent.items():
            n, m = self._next.spent.get(key, (0, 0.0))
            self._next.spent[key] = (n + count, m + money)
        for task_type, sums in feedback.energy.items():
            self._next.energy.setdefault(task_type, Sums()).join(sums)
        for stream, watched in feedback.watched.items():
            again = self._next.watched.setdefault(stream, StreamOutcomes())
            again.seen += watched.seen
            again.rows = (watched.rows + again.rows)[:OUTCOMES]

    def forget_questions(self) -> None:
        """The session was lost: nothing is outstanding, and no question is open. Outcomes are kept."""
        self._next.outstanding.clear()
        self._excluded.clear()
        self._undecided.clear()
