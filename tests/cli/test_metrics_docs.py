"""docs/operations/metrics.md is what the catalogue says."""

import ast
from pathlib import Path

from seedcore.cli.metrics_docs import metrics_page
from seedcore.telemetry.metrics.catalogue import CATALOGUE, FALLBACKS

ROOT = Path(__file__).parents[2]


def fallbacks_in_code() -> set[str]:
    """Every value of the label `fallback` that the code gives, as a text or by the name of a constant."""
    constants: dict[str, str] = {}
    given: list[ast.expr] = []
    for path in [p for folder in ("src/seedcore", "bootstraps") for p in (ROOT / folder).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                    constants[node.targets[0].id] = node.value.value
            elif isinstance(node, ast.Call):
                given += [keyword.value for keyword in node.keywords if keyword.arg == "fallback"]
                if ast.unparse(node.func) == "_fell_back":
                    given += node.args
    texts = {value.value for value in given if isinstance(value, ast.Constant) and isinstance(value.value, str)}
    return texts | {constants[value.id] for value in given if isinstance(value, ast.Name) and value.id.isupper()}


def test_the_page_is_generated() -> None:
    assert (ROOT / "docs/operations/metrics.md").read_text() == metrics_page(), "run `make docs`"


def test_the_page_names_every_metric() -> None:
    page = metrics_page()
    assert [spec.name for spec in CATALOGUE if f"`{spec.name}` | {spec.kind}" not in page] == []


def test_every_fall_back_has_its_meaning() -> None:
    assert fallbacks_in_code() == set(FALLBACKS)
