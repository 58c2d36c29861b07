"""docs/errors.md is what the error classes and the failure codes say."""

import ast
from pathlib import Path

import pytest

from seedcore.cli.errors_docs import ACTIONS, errors_page
from seedcore.errors import known_errors
from seedcore.tasks.failure_codes import FailureCode

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "errors.md"


def declared_codes() -> set[str]:
    """Codes that a class anywhere in the package declares, whether its module is imported or not."""
    return {
        value.value
        for path in (ROOT / "src").rglob("*.py")
        for kind in ast.walk(ast.parse(path.read_text()))
        if isinstance(kind, ast.ClassDef) and kind.name != "FailureCode"
        for value in codes_of(kind)
        if isinstance(value, ast.Constant) and isinstance(value.value, str)
    }


def codes_of(kind: ast.ClassDef) -> list[ast.expr | None]:
    """What a class gives as `code`: in its head (`class X(Base, code=...)`), or in its body."""
    in_head = [keyword.value for keyword in kind.keywords if keyword.arg == "code"]
    assigned = [line for line in kind.body if isinstance(line, ast.Assign | ast.AnnAssign)]
    in_body = [v for line in assigned for t, v in pairs(line) if isinstance(t, ast.Name) and t.id == "code"]
    return [*in_head, *in_body]


def pairs(line: ast.Assign | ast.AnnAssign) -> list[tuple[ast.expr, ast.expr | None]]:
    if isinstance(line, ast.AnnAssign):
        return [(line.target, line.value)]
    target = line.targets[0]
    if isinstance(target, ast.Tuple) and isinstance(line.value, ast.Tuple):
        return list(zip(target.elts, line.value.elts, strict=True))
    return [(target, line.value)]


def rows(code: str, of: str) -> list[str]:
    return [line for line in section(of).splitlines() if line.startswith(f"| `{code}` |")]


def section(title: str) -> str:
    return errors_page().partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == errors_page(), "run `make docs`"


def test_every_declared_code_of_an_error_is_on_the_page_once() -> None:
    codes = declared_codes()
    assert {"internal_error", "no_plan", "start_failed"} <= codes <= set(known_errors())
    for code in codes:
        assert len(rows(code, "Errors of requests")) == 1, code


def test_no_advice_is_left_of_an_error_that_is_gone() -> None:
    errors_page()
    assert set(ACTIONS) == {*known_errors(), "http_error"}


@pytest.mark.parametrize("code", FailureCode)
def test_every_failure_code_is_on_the_page_once(code: FailureCode) -> None:
    assert len(rows(code, "Failures of tasks")) == 1
