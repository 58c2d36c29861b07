"""Every code that a task can end or be retried with is in the enumeration, and is told apart there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from seedcore.errors import known_errors
from seedcore.skills.host_protocol import HANDED_BACK
from seedcore.tasks.failure_codes import NOT_FAILURES_OF_THE_WORK, NOTES, FailureCode

SOURCES = Path(__file__).parents[2] / "src/seedcore"
MIGRATIONS = SOURCES / "stores/migrations/versions"
CODE = re.compile(r"[a-z]+(_[a-z]+)+")
ENDS_AN_ATTEMPT = re.compile(r"fail|outcome|no_plan|retry|again", re.IGNORECASE)
NAMES_A_CODE = re.compile(r"(error_|failure_)?code", re.IGNORECASE)


def literals(path: Path) -> Iterator[str]:
    """Literal codes: arguments of calls that end an attempt, and what is assigned to or compared with a code."""
    for node in ast.walk(ast.parse(path.read_text())):
        found: list[ast.expr] = []
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            found += node.args if ENDS_AN_ATTEMPT.search(called) else []
            found += [k.value for k in node.keywords if k.arg is not None and NAMES_A_CODE.fullmatch(k.arg)]
        elif isinstance(node, ast.Assign):
            found += [value for target, value in assigned(node) if NAMES_A_CODE.fullmatch(last_name(target))]
        elif isinstance(node, ast.Compare) and NAMES_A_CODE.fullmatch(last_name(node.left)):
            found += node.comparators
        for value in found:
            yield from filter(CODE.fullmatch, texts(value))


def texts(value: ast.expr) -> Iterator[str]:
    """Literal texts that an expression can give: its own, or those of its alternatives."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.IfExp):
        yield from (*texts(value.body), *texts(value.orelse))
    elif isinstance(value, ast.BoolOp | ast.Tuple):
        for part in value.values if isinstance(value, ast.BoolOp) else value.elts:
            yield from texts(part)


def assigned(node: ast.Assign) -> list[tuple[ast.expr, ast.expr]]:
    target = node.targets[0]
    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
        return list(zip(target.elts, node.value.elts, strict=True))
    return [(target, node.value)]


def last_name(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2]


def sql_codes(text: str) -> set[str]:
    """Codes in the SQL of migrations: what is written as a code, and what is handed to a function that takes one."""
    return {
        *re.findall(r"code := '(\w+)'", text),
        *re.findall(r"'code', '(\w+)'", text),
        *re.findall(r"error_code <?>?= '(\w+)'", text),
        *re.findall(r"cancel_below\([^,]+, '(\w+)'", text),
        *re.findall(r"then '(\w+)' else code", text),
        *re.findall(r"errors_of\([^,]+, [^,]+, '(\w+)'", text),
        *re.findall(r"'cancelled', \w+\.attempts, '(\w+)'", text),
    }


@pytest.mark.parametrize("room", ["worker", "tasks", "organism", "decision"])
def test_every_literal_code_in_the_source_is_in_the_enumeration(room: str) -> None:
    known = {*FailureCode, *known_errors(), HANDED_BACK}
    for path in (SOURCES / room).rglob("*.py"):
        if path.name != "failure_codes.py":
            assert set(literals(path)) <= known, path


def test_every_code_in_the_migrations_is_in_the_enumeration() -> None:
    found = set[str]()
    for path in MIGRATIONS.glob("*.sql"):
        found |= sql_codes(path.read_text())
    assert {"step_failed", "plan_failed", "planned_anew", "need_skipped", "budget_exceeded"} == found


def test_the_engine_writes_no_code_but_those_of_the_enumeration() -> None:
    for path in (SOURCES / "tasks").rglob("*.py"):
        if path.name != "failure_codes.py":
            quoted = set(re.findall(r"""["']([a-z]+(?:_[a-z]+)+)["']""", path.read_text()))
            assert not quoted & {code.value for code in FailureCode}, path


@pytest.mark.parametrize("code", FailureCode)
def test_every_code_has_a_meaning_and_what_to_do(code: FailureCode) -> None:
    note = NOTES[code]
    assert note.outcomes
    assert note.meaning.endswith(".")
    assert note.action.endswith(".")


def test_what_people_policy_and_budgets_end_is_no_failure_of_the_work() -> None:
    assert set(NOT_FAILURES_OF_THE_WORK) == {
        "policy_rejected",
        "approval_rejected",
        "approval_expired",
        "budget_exceeded",
        "step_failed",
    }
