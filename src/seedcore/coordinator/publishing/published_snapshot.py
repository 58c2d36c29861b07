"""The snapshot that workers decide with: what each of them gets, as changes or as a whole."""

import orjson

from seedcore.coordinator.publishing.learned_log import LearnedLog
from seedcore.coordinator.publishing.published_parts import PublishedParts
from seedcore.decision.fleet_table import Fleet
from seedcore.pricing.learned_json import Learned
from seedcore.schemas.snapshot import SNAPSHOT_FORMAT, PlanShare, SnapshotParts, SnapshotUpdate, StoredSnapshotJson


class PublishedSnapshot:
    """The published parts, the log of what was learned, and the rates of the fleet, under one version."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.parts = PublishedParts()
        self._log = LearnedLog()
        self.counts = {"whole": 0, "delta": 0}

    @property
    def version(self) -> int:
        """The version of the snapshot."""
        return self.parts.version

    def add_learned(self, reporter: str, increments: list[Learned]) -> None:
        """Publish what a reporter learned to all others; the fleet's rates include it already."""
        if increments:
            self._log.add(self.parts.next_version, reporter, increments)
            self.parts.touch()

    def mark_types(self, types: set[str]) -> None:
        """Publish the rates of types whole: they changed otherwise than by what was learned."""
        if types:
            self._log.mark(self.parts.next_version, types)
            self.parts.touch()

    def knows(self, version: int) -> bool:
        """Whether an update can start at this version."""
        return max(1, self._log.floor, self.parts.floor) <= version <= self.version

    def update(
        self, generation: int, known: tuple[int, int], reader: str, reporter: str, heard: int, plans: PlanShare
    ) -> SnapshotUpdate:
        """The answer to a report.

        Args:
            generation: of this Coordinator.
            known: generation and version of the snapshot that the reader has.
            reader: the worker.
            reporter: the name under which it learns.
            heard: number of the report.
            plans: its share of the budget.
        """
        whole = known[0] != generation or not self.knows(known[1])
        self.counts["whole" if whole else "delta"] += 1
        return {
            "format": SNAPSHOT_FORMAT,
            "generation": generation,
            "version": self.version,
            "whole": whole,
            "heard": heard,
            "parts": self._whole(reader) if whole else self._since(known[1], reader),
            "learned": [] if whole else self._log.since(known[1], reporter),
            "plans": plans,
        }

    def stored(self, generation: int) -> bytes:
        """The whole snapshot as it is saved: `StoredSnapshotJson`."""
        body: StoredSnapshotJson = {
            "format": SNAPSHOT_FORMAT,
            "generation": generation,
            "version": self.version,
            "parts": self._whole(None),
        }
        return orjson.dumps(body)

    def _since(self, version: int, reader: str) -> SnapshotParts:
        parts = self.parts.since(version, reader)
        if types := self._log.types_since(version):
            parts["rates"] = self._fleet.rates.to_json(types)
        return parts

    def _whole(self, reader: str | None) -> SnapshotParts:
        parts = self.parts.whole(reader)
        parts["rates"], parts["money"] = self._fleet.rates.to_json(), self._fleet.money_rates.to_json()
        return parts
