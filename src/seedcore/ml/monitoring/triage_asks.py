"""When an open monitor asks the Coordinator for triage, with which key, and what came of it.

The first time at once, then: when as many labelled rows are there as the policy wants, when its interval allows another
retraining, and otherwise after pauses that double, since people may change the policy.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

PAUSE_S, MAX_PAUSE_S, FAILED_S = 60.0, 3600.0, 5.0
MAX_CAUSED = 20


@dataclass(slots=True)
class TriageAsks:
    """The asks of one model.

    Attributes:
        alarm: number of the present alarm, or of the last one.
        attempt: number of the ask about it.
        asking: the request that has no answer yet; it is sent again until it has one.
        next_at: no ask before this moment (seconds since 1970).
        rows_needed: labelled rows that the policy wants; None: they were not what was missing.
        retrained: whether an ask about this alarm began a retraining.
        active: whether a monitor is open.
        caused: what asks caused, the newest last.
    """

    alarm: int = 0
    attempt: int = 0
    asking: Json | None = None
    next_at: float = 0.0
    rows_needed: int | None = None
    retrained: bool = False
    active: bool = False
    caused: list[Json] = field(default_factory=list)

    def note(self, is_open: bool) -> None:
        """Begin a new alarm when a monitor opens, and end it when none is open."""
        if is_open and not self.active:
            self.alarm, self.attempt, self.next_at, self.rows_needed = self.alarm + 1, 0, 0.0, None
            self.retrained = False
        self.active = is_open

    def due(self, now: float, rows: int, shadowing: bool) -> bool:
        """Whether to ask now; a candidate that was trained for this alarm and is being judged gets its time."""
        if self.asking is not None:
            return now >= self.next_at
        if not self.active or (self.retrained and shadowing):
            return False
        if self.rows_needed is not None:
            return now >= self.next_at and rows >= self.rows_needed
        return now >= self.next_at

    def begin(self, key: str, model: Json, context: Json) -> Json:
        """The request of the next attempt; what it says stays the same when it is sent again."""
        if self.asking is None:
            self.attempt += 1
            body = {"model": model, "context": context, "idempotency_key": f"{key}-{self.alarm}-{self.attempt}"}
            self.asking = body
        return self.asking

    def fail(self, reason: str, now: float, *, refused: bool = False) -> None:
        """The Coordinator does not answer: the same request follows. `refused`: it never will, so another one does."""
        self.next_at = now + (self._pause() if refused else FAILED_S)
        if refused:
            self.asking = None
            self._add({"at": _iso(now), "action": None, "reason": reason})

    def answer(self, record: Mapping[str, Any], now: float) -> Json:
        """Take the record of the triage; what it caused."""
        asked = self.asking or {}
        decision = record.get("decision") or {}
        facts = decision.get("facts") or {}
        result = record.get("result") or {}
        caused: Json = {
            "at": _iso(now),
            "monitor": (asked.get("model") or {}).get("monitor"),
            "triage": record.get("id"),
            "action": record.get("action"),
            "status": record.get("status"),
            "reason": _reason(record.get("action"), decision),
        }
        self.asking, self.rows_needed = None, None
        if record.get("action") == "retrain" and "task_id" in result:
            caused["task_id"] = result["task_id"]
            self.retrained = True
            self.next_at = now + float(result.get("every_s", MAX_PAUSE_S))
        else:
            needed, wait_s = facts.get("model.fresh_needed"), float(facts.get("model.wait_s", 0.0))
            few = facts.get("model.allowed") and needed is not None and facts.get("model.fresh_rows", 0) < needed
            self.rows_needed = int(needed) if few and needed is not None else None
            self.next_at = now + (wait_s if few or wait_s > 0 else self._pause())
        self._add(caused)
        return caused

    def _pause(self) -> float:
        return min(PAUSE_S * 2.0 ** (self.attempt - 1), MAX_PAUSE_S)

    def _add(self, caused: Json) -> None:
        self.caused = [*self.caused, caused][-MAX_CAUSED:]

    def to_json(self) -> Json:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "TriageAsks":
        """What `to_json` wrote."""
        return cls(**stored)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _reason(action: str | None, decision: Mapping[str, Any]) -> str | None:
    """Why no retraining was begun: the requirements that were not met, or that another action loses less."""
    if action == "retrain":
        return None
    for option in decision.get("options") or ():
        if option.get("name") == "retrain":
            return "; ".join(option.get("unmet") or ()) or "another action loses less"
    return decision.get("reason") or "the policy has no action retrain"
