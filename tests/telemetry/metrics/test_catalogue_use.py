"""Every metric of the catalogue is counted somewhere, and every place that counts names one."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from seedcore.telemetry.metrics.catalogue import BY_NAME

SOURCES = Path(__file__).parents[3] / "src/seedcore"
OTHERS = {"seedcore_auth_refusals_total", "seedcore_audit_failures_total", "seedcore_spans_dropped_total"}
"""Counted by rooms that are still being built."""


def named(path: Path) -> Iterator[tuple[str, str]]:
    """Calls of `counter`, `gauge` and `histogram` in a module: which, and the name that it gets."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            first = node.args[0]
            if node.func.id in ("counter", "gauge", "histogram") and isinstance(first, ast.Constant):
                yield node.func.id, str(first.value)


USES = {(kind, name, str(p.relative_to(SOURCES))) for p in sorted(SOURCES.rglob("*.py")) for kind, name in named(p)}


@pytest.mark.parametrize("name", sorted(name for name, spec in BY_NAME.items() if spec.source == "process"))
def test_every_metric_is_counted_by_the_code(name: str) -> None:
    places = [place for kind, used, place in USES if used == name and kind == BY_NAME[name].kind]
    assert places or name in OTHERS


def test_every_call_names_a_metric_of_its_kind() -> None:
    wrong = [use for use in USES if use[1] not in BY_NAME or BY_NAME[use[1]].kind != use[0]]
    assert wrong == []
    assert not [use for use in USES if BY_NAME[use[1]].source != "process"]
