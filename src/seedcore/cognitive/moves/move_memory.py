"""What memory says helped: moves of like incidents, found by similarity, and what the newest plans add to it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from seedcore.cognitive.moves.changed_work import likeness
from seedcore.cognitive.moves.choose_move import RememberedMove
from seedcore.errors import SeedCoreError
from seedcore.memory.long_term.items import FoundMemory, NewMemory
from seedcore.stores.postgres import DATABASE_ERRORS
from seedcore.tasks.plans.moves import SettledMove
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter

SOURCE, TAG = "move", "move"
FOUND = 20
LEAST_LIKENESS = 0.5
"""Memories of incidents that are less alike say nothing."""


class Memories(Protocol):
    """Long-term memory: `memory.long_term.store.MemoryStore`."""

    async def remember(self, items: Sequence[NewMemory]) -> object:
        """Store texts."""

    async def search(
        self,
        query: str,
        k: int = 10,
        *,
        tenant: str = "default",
        scopes: Sequence[str] | None = None,
        tags: Sequence[str] = (),
    ) -> list[FoundMemory]:
        """The `k` memories that fit best."""


class MoveMemory:
    """Moves in long-term memory.

    Attributes:
        failing: why memory did not answer the last time; None: it did.
    """

    def __init__(self, memories: Memories) -> None:
        self._memories = memories
        self.failing: str | None = None
        self._log = get_logger("seedcore.cognitive")

    async def recall(self, incident: str, type_: str, tenant: str) -> list[RememberedMove]:
        """What was tried for incidents of this skill that are like this one, the likest first. Empty without memory."""
        try:
            found = await self._memories.search(incident, FOUND, tenant=tenant, tags=(TAG, type_tag(type_)))
        except (SeedCoreError, *DATABASE_ERRORS) as error:
            self.failing = f"{type(error).__name__}: {error}"
            self._log.warning("memory does not answer, choosing a move without it", reason=self.failing)
            counter("seedcore_fallbacks_total").add(1, fallback="moves_without_memory")
            return []
        self.failing = None
        read = [_remembered(memory, incident) for memory in found]
        alike = [memory for memory in read if memory is not None and memory.likeness >= LEAST_LIKENESS]
        return sorted(alike, key=lambda m: (-m.likeness, m.move, m.id))

    async def remember(self, moves: Sequence[SettledMove]) -> None:
        """Keep what was learnt: of each incident and move one memory, which the newest counts replace."""
        await self._memories.remember([_new(move) for move in moves])


def type_tag(type_: str) -> str:
    """The tag of memories about a skill."""
    return f"skill:{type_}"[:64]


def _new(move: SettledMove) -> NewMemory:
    outcome = "helped" if 2 * move.helped >= move.ends else "did not help"
    direct = move.direct_good + move.direct_bad
    ran = "" if not direct else f" Run as it is, {move.direct_good} of {direct} completed."
    text = f"{move.incident}{ran} The move {move.move} {outcome}, {move.helped} of {move.ends} times."
    metadata = {
        "incident": move.incident,
        "move": move.move,
        "helped": move.helped,
        "ends": move.ends,
        "steps": move.steps,
        "direct_good": move.direct_good,
        "direct_bad": move.direct_bad,
    }
    scope = "all"
    return NewMemory(
        text=text,
        tenant=move.tenant,
        scope=scope,
        tags=(TAG, type_tag(move.type)),
        metadata=metadata,
        salience=0.8 if outcome == "helped" else 0.5,
        source=SOURCE,
        source_id=f"{move.stream} {move.move} {move.incident_id}",
        replaces=True,
    )


def _remembered(memory: FoundMemory, incident: str) -> RememberedMove | None:
    """None: another room wrote it, or another release did."""
    data: Mapping[str, object] = memory.metadata
    then, move = data.get("incident"), data.get("move")
    counts = [data.get(name) for name in ("helped", "ends", "direct_good", "direct_bad")]
    if memory.source != SOURCE or not isinstance(then, str) or not isinstance(move, str):
        return None
    if not all(isinstance(count, int | float) and not isinstance(count, bool) and count >= 0 for count in counts):
        return None
    helped, ends, good, bad = (float(str(count)) for count in counts)
    if not ends > 0 or helped > ends:
        return None
    return RememberedMove(str(memory.id), memory.text, likeness(incident, then), move, helped, ends, good, bad)
