"""Desired state: organs by version, and how the organs file changes them. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from seedcore.fleet.organ_spec import OrganSpec
from seedcore.organism.agents.roster import Roster


@dataclass(frozen=True, slots=True)
class Organ:
    """The desired state of an organ.

    Attributes:
        version: grows with every change.
        file_hash: of its part of the organs file when that was last applied; None: it did not come from the file.
        removed: it was removed; its agents' numbers stay taken.
    """

    id: str
    spec: OrganSpec
    roster: Roster = field(default_factory=Roster)
    version: int = 1
    file_hash: str | None = None
    removed: bool = False

    @property
    def agent_ids(self) -> tuple[str, ...]:
        """The agents that it is to have."""
        return self.roster.agent_ids(self.id, self.spec)

    def changed(self, spec: OrganSpec | None = None, roster: Roster | None = None, *, removed: bool = False) -> "Organ":
        """The next version of this organ."""
        return replace(
            self, spec=spec or self.spec, roster=roster or self.roster, version=self.version + 1, removed=removed
        )


def present(organs: Mapping[str, Organ]) -> dict[str, Organ]:
    """The organs that are not removed."""
    return {name: organ for name, organ in organs.items() if not organ.removed}


def spec_hash(spec: OrganSpec) -> str:
    """Identifies the content of an organ in the organs file; the same as the previous release computes for it."""
    content = {**spec.model_dump(mode="json"), "hosts": spec.hosts.model_dump(mode="json")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def apply_file(organs: Mapping[str, Organ], file: Mapping[str, OrganSpec]) -> list[Organ]:
    """The organs that the organs file changes, to be stored.

    The file wins where it has changed since it was last applied, and only there: changes by PUT and evolve stay as
    long as the organ's part of the file is the same. Organs that the file no longer names are removed; those that
    never came from it stay.
    """
    changed = []
    for name, spec in file.items():
        known, digest = organs.get(name), spec_hash(spec)
        if known is None:
            changed.append(Organ(name, spec, file_hash=digest))
        elif known.file_hash != digest:
            same = known.spec == spec and not known.removed
            changed.append(replace(known if same else known.changed(spec), file_hash=digest))
    for name, known in organs.items():
        if name not in file and known.file_hash is not None:
            changed.append(replace(known if known.removed else known.changed(removed=True), file_hash=None))
    return changed
