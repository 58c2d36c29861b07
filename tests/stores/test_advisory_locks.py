"""The list of advisory locks has every lock that SeedCore takes."""

import re
from pathlib import Path

from seedcore.stores import advisory_locks

SOURCES = Path(__file__).parents[2] / "src/seedcore"
TAKES_A_LOCK = re.compile(r"pg_(?:try_)?advisory_\w*lock\w*\(|seedcore\.someone\(")


def listed() -> set[int]:
    return {number for name, number in vars(advisory_locks).items() if name.isupper()}


def test_the_locks_in_migrations_are_on_the_list() -> None:
    found = set[int]()
    for path in (SOURCES / "stores/migrations").rglob("*.sql"):
        for call in TAKES_A_LOCK.finditer(path.read_text()):
            argument = path.read_text()[call.end() :].split(",")[0].strip()
            if argument.isdecimal():
                found.add(int(argument))
    assert found == {advisory_locks.IDLE_LANE, advisory_locks.EVENT_FOLLOWERS, advisory_locks.SCHEDULES_AND_RECIPES}
    assert found <= listed()


def test_no_other_module_has_a_number_of_its_own() -> None:
    for path in SOURCES.rglob("*.py"):
        if path.name != "advisory_locks.py":
            for call in TAKES_A_LOCK.finditer(path.read_text()):
                assert not path.read_text()[call.end()].isdecimal(), path


def test_no_two_locks_share_a_number() -> None:
    numbers = [number for name, number in vars(advisory_locks).items() if name.isupper()]
    assert len(numbers) == len(set(numbers))
