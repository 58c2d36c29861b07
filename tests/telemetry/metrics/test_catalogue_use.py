"""Every metric of the catalogue is counted somewhere, and every place that counts names one."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from seedcore.telemetry.metrics.catalogue import BY_NAME

SOURCES = Path(__file__).parents[3] / "src/seedcore"


RELAYS = {"worker/execution/run_scope.py"}
"""Adds what another process has counted, whose registry has the metrics of the catalogue alone."""


def named(path: Path) -> Iterator[tuple[str, str]]:
    """Calls of `counter`, `gauge` and `histogram` in a module: which, and the name that it gets."""
    tree = ast.parse(path.read_text())
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            first = node.args[0]
            name = constants.get(first.id) if isinstance(first, ast.Name) else getattr(first, "value", None)
            if node.func.id in ("counter", "gauge", "histogram") and str(path.relative_to(SOURCES)) not in RELAYS:
                yield node.func.id, str(name)


USES = {(kind, name, str(p.relative_to(SOURCES))) for p in sorted(SOURCES.rglob("*.py")) for kind, name in named(p)}


@pytest.mark.parametrize("name", sorted(name for name, spec in BY_NAME.items() if spec.source == "process"))
def test_something_counts_every_metric(name: str) -> None:
    places = [place for kind, used, place in USES if used == name and kind == BY_NAME[name].kind]
    assert places


def test_every_call_names_a_metric_of_its_kind() -> None:
    wrong = [use for use in USES if use[1] not in BY_NAME or BY_NAME[use[1]].kind != use[0]]
    assert wrong == []
    assert not [use for use in USES if BY_NAME[use[1]].source != "process"]
