"""The shape of the tree: sizes, names, circles, and how much of it is typed."""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src"
PACKAGE = ROOT / "seedcore"
MIGRATIONS = PACKAGE / "stores/migrations"

MAX_LINES = 300
MAX_MODULES = 15
MAX_SETTINGS_GROUPS = 18
"""One file a group: the list is the table of contents of every setting."""
MAX_ANY_PER_1000_LINES = 8.0

# The same name in several rooms, because what they hold is of the same kind: the Serve deployment of a room, the
# statements on its tables, its errors, its skills, and the public face of the valve.
SHARED_NAMES = {"service", "repository", "errors", "valve", "skills"}

# Folders whose modules are named for the room or the subject that they serve; the folder says of what kind they are.
BY_SUBJECT = {"settings", "schemas", "schemas/cognitive", "schemas/ml", "tasks/sql"}


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


PATHS = sorted(PACKAGE.rglob("*.py"))
MODULES = {module_name(path): path for path in PATHS}
NAMED = [path for path in PATHS if path.stem not in ("__init__", "__main__") and MIGRATIONS not in path.parents]


@cache
def trees() -> dict[Path, ast.Module]:
    """Every module of the package, parsed."""
    return {path: ast.parse(path.read_text()) for path in PATHS}


def imports(tree: ast.Module) -> Iterator[str]:
    """Modules of SeedCore that a module imports anywhere: at its top, in functions, and for type checkers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                longer = f"{node.module}.{alias.name}"
                yield longer if longer in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in graph:
        if node not in index:
            visit(node)
    return found


def test_no_module_is_longer_than_one_sitting():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in PATHS}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_no_folder_holds_more_modules_than_a_glance_takes_in():
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in NAMED)
    assert counts.pop("seedcore/settings") <= MAX_SETTINGS_GROUPS
    assert {folder: count for folder, count in counts.items() if count > MAX_MODULES} == {}


def test_modules_import_each_other_in_one_direction():
    graph = {name: set(imports(trees()[path])) & set(MODULES) - {name} for name, path in MODULES.items()}
    assert circles(graph) == []


def test_a_circle_is_found_wherever_it_closes():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == [["b", "c"]]


def test_no_two_modules_share_a_name():
    places = defaultdict(list)
    for path in NAMED:
        if str(path.parent.relative_to(PACKAGE)) not in BY_SUBJECT:
            places[path.stem].append(str(path.relative_to(ROOT)))
    assert {name: where for name, where in places.items() if len(where) > 1 and name not in SHARED_NAMES} == {}


def test_no_two_public_classes_share_a_name():
    """Two may: the client's models mirror what the engine calls the same."""
    places = defaultdict(list)
    for path, tree in trees().items():
        if PACKAGE / "client" in path.parents:
            continue
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def annotations(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            yield node.returns
        elif (isinstance(node, ast.arg) and node.annotation is not None) or isinstance(node, ast.AnnAssign):
            yield node.annotation


def names_of(expression: ast.expr) -> Iterator[str]:
    """Every name in an annotation, those in quotes included."""
    for node in ast.walk(expression):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                yield from names_of(ast.parse(node.value, mode="eval").body)
            except SyntaxError:
                continue


def aliases(trees: list[ast.Module]) -> dict[str, int]:
    """How many times `Any` stands in each alias of a type (`Name = dict[str, Any]`), other aliases resolved."""
    defined: dict[str, list[ast.expr]] = defaultdict(list)
    for tree in trees:
        for node in tree.body:
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                name, value = node.targets[0].id, node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                name, value = node.target.id, node.value
            else:
                continue
            if isinstance(value, ast.Subscript | ast.Name | ast.BinOp | ast.Attribute):
                defined[name].append(value)
    counts: dict[str, int] = {"Any": 1}
    for _ in range(len(defined)):
        again = {n: max(sum(counts.get(x, 0) for x in names_of(v)) for v in vs) for n, vs in defined.items()}
        again = {name: count for name, count in again.items() if count} | {"Any": 1}
        if again == counts:
            break
        counts = again
    return counts


def any_count(tree: ast.Module, counts: dict[str, int]) -> int:
    return sum(counts.get(name, 0) for expression in annotations(tree) for name in names_of(expression))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(a: Any, *b: dict[str, Any]) -> 'list[Any]': ...", 3),
        ("Json = dict[str, Any]\nPair = tuple[Json, Json]\ndef f(a: Pair) -> None: ...", 2),
        ("x: typing.Any = 1", 1),
        ("def f(a: object) -> None: ...", 0),
    ],
)
def test_any_is_counted_through_aliases_and_quotes(source: str, expected: int):
    tree = ast.parse(source)
    assert any_count(tree, aliases([tree])) == expected


def test_any_is_left_for_json_that_is_free():
    counts = aliases(list(trees().values()))
    lines = sum(len(path.read_text().splitlines()) for path in PATHS)
    found = sum(any_count(tree, counts) for tree in trees().values())
    assert found / lines * 1000 <= MAX_ANY_PER_1000_LINES, f"{found} in {lines} lines"
