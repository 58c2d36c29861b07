"""docs/operations/metrics.md is what the catalogue says."""

import ast
from pathlib import Path

from seedcore.cli.metrics_docs import metrics_page
from seedcore.telemetry.metrics.catalogue import CATALOGUE, FALLBACKS

ROOT = Path(__file__).parents[2]


def fallbacks_in_code() -> set[str]:
    """Every value of the label `fallback` that the code gives."""
    return {
        keyword.value.value
        for folder in ("src/seedcore", "bootstraps")
        for path in (ROOT / folder).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "fallback" and isinstance(keyword.value, ast.Constant)
    }


def test_the_page_is_generated() -> None:
    assert (ROOT / "docs/operations/metrics.md").read_text() == metrics_page(), "run `make docs`"


def test_the_page_names_every_metric() -> None:
    page = metrics_page()
    assert [spec.name for spec in CATALOGUE if f"`{spec.name}` | {spec.kind}" not in page] == []


def test_every_fall_back_has_its_meaning() -> None:
    assert fallbacks_in_code() == set(FALLBACKS)
