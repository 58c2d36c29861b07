"""Snapshots and updates as a Coordinator publishes them."""

from typing import Any

from seedcore.schemas.snapshot import SNAPSHOT_FORMAT, SnapshotUpdate, StoredSnapshotJson

POLICY = """
rules:
  - {name: loud, when: task.priority > 5 && !task.approved, route: hold, reason: too loud}
"""


def table(epoch: int = 1, **changed: Any) -> dict[str, Any]:
    """One organ with two agents, on the workers `w-0` and `w-1`."""
    organ = {"agents": ["a-0", "a-1"], "hosts": ["w-0", "w-1"], "host": [0, 1], "scouts": [], "archived": []}
    base = {"epoch": epoch, "skills": {"echo": "utility"}, "timeouts": {"echo": 7.0}, "organs": {"utility": organ}}
    return base | {"workers": ["w-0", "w-1"]} | changed


def whole_parts(policy: str = POLICY, **changed: Any) -> Any:
    parts: dict[str, Any] = {
        "routing": table(),
        "rates": {},
        "money": {},
        "policy": {"source": "test", "text": policy, "version": policy[:40]},
        "streams": {},
        "holds": {},
        "recipe_types": [],
        "v": 1.0,
        "backlog": {},
    }
    return parts | changed


def update(
    version: int = 1, parts: Any = None, *, whole: bool = True, generation: int = 1, heard: int = 0, **changed: Any
) -> SnapshotUpdate:
    answer: Any = {
        "format": SNAPSHOT_FORMAT,
        "generation": generation,
        "version": version,
        "whole": whole,
        "heard": heard,
        "parts": (whole_parts() if whole else {}) if parts is None else parts,
        "learned": [],
        "plans": {"spent": 0, "lent": 0},
    }
    return answer | changed  # type: ignore[no-any-return]


def stored(version: int = 1, generation: int = 1, **changed: Any) -> StoredSnapshotJson:
    kept: Any = {"format": SNAPSHOT_FORMAT, "generation": generation, "version": version, "parts": whole_parts()}
    return kept | changed  # type: ignore[no-any-return]
