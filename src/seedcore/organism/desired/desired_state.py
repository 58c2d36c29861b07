"""What ought to be: organs by version, and how the organs file changes them. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from seedcore.fleet.organ_spec import OrganSpec
from seedcore.organism.agents.roster import Roster


@dataclass(frozen=True, slots=True)
class Organ:
    """An organ as it ought to be.

    Attributes:
        version: grows with every change.
        file_hash: of its part of the organs file when that was last applied; None: it did not come from there.
        removed: it is not wanted any more; its agents' numbers stay taken.
    """

    id: str
    spec: OrganSpec
    roster: Roster = field(default_factory=Roster)
    version: int = 1
    file_hash: str | None = None
    removed: bool = False

    @property
    def agent_ids(self) -> tuple[str, ...]:
        """The agents that it ought to have."""
        return self.roster.agent_ids(self.id, self.spec)

    def changed(self, spec: OrganSpec | None = None, roster: Roster | None = None, *, removed: bool = False) -> "Organ":
        """The next version of it."""
        return replace(
            self, spec=spec or self.spec, roster=roster or self.roster, version=self.version + 1, removed=removed
        )


def present(organs: Mapping[str, Organ]) -> dict[str, Organ]:
    """Those that are not removed."""
    return {name: organ for name, organ in organs.items() if not organ.removed}


def hash_of(spec: OrganSpec) -> str:
    """Tells whether an organ's part of the file has changed."""
    return hashlib.sha256(json.dumps(spec.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def apply_file(organs: Mapping[str, Organ], wanted: Mapping[str, OrganSpec]) -> list[Organ]:
    """What the organs file changes: the organs to store.

    The file wins where it has changed since it was last applied, and only there: what PUT and evolve did to an organ
    stays for as long as its part of the file is the same. Organs that the file does not name any more are removed;
    those that never came from it stay.
    """
    changed = []
    for name, spec in wanted.items():
        known, digest = organs.get(name), hash_of(spec)
        if known is None:
            changed.append(Organ(name, spec, file_hash=digest))
        elif known.file_hash != digest:
            same = known.spec == spec and not known.removed
            changed.append(replace(known if same else known.changed(spec), file_hash=digest))
    for name, known in organs.items():
        if name not in wanted and known.file_hash is not None:
            changed.append(replace(known if known.removed else known.changed(removed=True), file_hash=None))
    return changed
