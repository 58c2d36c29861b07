"""Checks a client's SELECT over `seedcore.history`, and writes the statement that runs in its place.

What runs is generated from the tree that was checked, never the client's text. All that is not listed here is refused:
kinds of nodes, functions, types, relations, columns. The view shows the ended tasks of one tenant; it relies on the
setting `seedcore.tenant`, which no listed function can change.
"""

import re
from collections.abc import Iterator

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from seedcore.errors import InvalidInputError

COLUMNS = frozenset(
    {
        "id",
        "type",
        "domain",
        "queue",
        "priority",
        "params",
        "parent_id",
        "step",
        "max_attempts",
        "status",
        "attempts",
        "result",
        "error_code",
        "route",
        "agent",
        "created_at",
        "started_at",
        "finished_at",
        "seconds",
        "outcome",
    }
)
"""Those of the view."""

MAX_RELATIONS = 4
MAX_NODES = 5000
MAX_WILDCARDS = 3

_STRUCTURE = """Select Union Intersect Except From Where Group Having Order Ordered Limit Offset Distinct Join
    Subquery With CTE Table TableAlias Alias Identifier Column Star Literal Boolean Null Paren Tuple Var Case If
    Window WindowSpec Filter WithinGroup Interval DataType DataTypeParam"""
_OPERATORS = """Add Sub Mul Div Mod Neg EQ NEQ GT GTE LT LTE NullSafeEQ NullSafeNEQ And Or Not Is In Between Exists Like
    ILike Cast JSONExtract JSONExtractScalar JSONPath JSONPathRoot JSONPathKey JSONPathSubscript JSONBContainsTopKey
    ArrayContainsAll"""
_FUNCTIONS = """Abs Avg Ceil Coalesce Corr Count CurrentDate CurrentTimestamp DenseRank Exp Extract FirstValue
    Floor Greatest Lag LastValue Lead Least Length Ln Log LogicalAnd LogicalOr Lower Max Min NthValue Ntile Nullif
    PercentileCont PercentileDisc PercentRank Pow Quantile Rand Rank Round RowNumber Sign Sqrt Stddev StddevPop
    StddevSamp Sum TimestampTrunc Trim Trunc Upper Variance VariancePop"""
_NODES = frozenset(f"{_STRUCTURE} {_OPERATORS} {_FUNCTIONS}".split())
_NAMED = frozenset({"jsonb_typeof", "jsonb_array_length"})
"""Functions that the parser has no kind of node for."""

_TYPES = frozenset(
    {
        *("BOOLEAN", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL", "TEXT", "VARCHAR", "DATE"),
        *("TIMESTAMP", "TIMESTAMPTZ", "INTERVAL", "JSON", "JSONB", "UUID"),
    }
)
_WORDS = re.compile(r"[A-Za-z0-9_ ]{0,40}")
# Where the parser keeps the client's own text; the generator quotes it.
_QUOTED = (exp.Identifier, exp.Literal, exp.JSONPathKey)


def checked_select(sql: str) -> str:
    """The statement to run for a client's SELECT.

    Raises:
        InvalidInputError: it is not one SELECT over `seedcore.history` and common table expressions of its own, or uses
            something that is not listed.
    """
    if "\0" in sql:
        raise _refused("must not hold U+0000")
    try:
        statements = sqlglot.parse(sql, dialect="postgres")
    except SqlglotError as error:
        raise _refused(f"cannot be read: {str(error).splitlines()[0][:200] if str(error) else 'not SQL'}") from None
    except RecursionError:
        raise _refused("is nested too deeply") from None
    if len(statements) != 1 or statements[0] is None:
        raise _refused("must be one statement")
    tree = statements[0]
    try:
        _check(tree)
        _fold_names(tree)
        return tree.sql(dialect="postgres", comments=False, identify=True)
    except RecursionError:
        raise _refused("is nested too deeply") from None


def _check(tree: exp.Expr) -> None:
    if not isinstance(tree, (exp.Select, exp.SetOperation)):
        raise _refused("must be a SELECT")
    nodes = list(tree.walk())
    if len(nodes) > MAX_NODES:
        raise _refused(f"has {len(nodes)} parts, at most {MAX_NODES}")
    for node in nodes:
        _check_node(node)
    visible = dict(_visible_names(tree))
    relations = list(tree.find_all(exp.Table))
    if not relations:
        raise _refused("must read seedcore.history")
    if sum(_is_view(table) for table in relations) > MAX_RELATIONS:
        raise _refused(f"names seedcore.history more than {MAX_RELATIONS} times")
    for table in relations:
        _check_relation(table, visible)
    _check_columns(tree, relations)


def _check_node(node: exp.Expr) -> None:
    kind = type(node).__name__
    if isinstance(node, exp.Anonymous):
        if not isinstance(node.this, str) or node.this.lower() not in _NAMED:
            raise _refused(f"function {str(node.this)[:60]!r} is not allowed")
    elif kind not in _NODES:
        what = node.sql_name().lower() if isinstance(node, exp.Func) else kind
        raise _refused(f"{what!r} is not allowed")
    if isinstance(node, exp.DataType) and (not isinstance(node.this, exp.DType) or node.this.name not in _TYPES):
        raise _refused(f"type {node.sql(dialect='postgres')[:60]} is not allowed")
    if isinstance(node, exp.With) and (node.args.get("recursive") or node.parent is None or node.parent.parent):
        raise _refused("WITH is allowed once, at the beginning, and not RECURSIVE")
    if isinstance(node, (exp.Like, exp.ILike)):
        pattern = node.expression
        if not isinstance(pattern, exp.Literal) or len(re.findall("[%_]+", pattern.this)) > MAX_WILDCARDS:
            raise _refused(f"LIKE takes a text with at most {MAX_WILDCARDS} wildcards")
    if not isinstance(node, _QUOTED):
        for value in node.args.values():
            if isinstance(value, str) and _WORDS.fullmatch(value) is None:
                raise _refused(f"{value[:60]!r} is not allowed")


def _visible_names(tree: exp.Expr) -> Iterator[tuple[str, int]]:
    """Names of the common table expressions, in order: one may name those before it."""
    given = tree.args.get("with_") or tree.args.get("with")
    for place, common in enumerate(given.expressions if isinstance(given, exp.With) else ()):
        name = _name(common.args["alias"].this)
        if name.startswith("pg_"):
            raise _refused("a common table expression may not be called pg_…")
        yield name, place


def _is_view(table: exp.Table) -> bool:
    parts = [_name(part) for part in table.parts if isinstance(part, exp.Identifier)]
    return len(parts) == len(table.parts) and parts == ["seedcore", "history"]


def _check_relation(table: exp.Table, visible: dict[str, int]) -> None:
    if any(value for key, value in table.args.items() if key not in ("this", "db", "alias", "joins")):
        raise _refused("a relation is a name, and perhaps an alias")
    if _is_view(table):
        return
    inside = table.find_ancestor(exp.CTE)
    while (outer := inside.find_ancestor(exp.CTE) if inside else None) is not None:
        inside = outer
    before = len(visible) if inside is None else visible[_name(inside.args["alias"].this)]
    name = _name(table.this) if isinstance(table.this, exp.Identifier) and not table.args.get("db") else ""
    if visible.get(name, len(visible)) >= before:
        raise _refused(f"{table.sql(dialect='postgres')[:60]!r} is not allowed: only seedcore.history is")


def _check_columns(tree: exp.Expr, relations: list[exp.Table]) -> None:
    made = {_name(alias.args["alias"]) for alias in tree.find_all(exp.Alias)}
    for alias in tree.find_all(exp.TableAlias):
        made.update(_name(column) for column in alias.args.get("columns") or ())
    views = {
        _name(table.args["alias"].this) if table.args.get("alias") else "history"
        for table in relations
        if _is_view(table)
    }
    for column in tree.find_all(exp.Column):
        if isinstance(column.this, exp.Star):
            continue
        name, of = _name(column.this), column.args.get("table")
        if column.args.get("db") or column.args.get("catalog"):
            raise _refused("a column is named alone, or with the alias of its relation")
        # `alias.name` may call a function in PostgreSQL, so names are listed here too.
        if name not in COLUMNS and (name not in made or (of is not None and _name(of) in views)):
            raise _refused(f"column {name[:60]!r} is unknown; the view has: {', '.join(sorted(COLUMNS))}")


def _name(identifier: exp.Expr) -> str:
    """As PostgreSQL reads it: without quotes, capital ASCII letters are small ones."""
    text = str(identifier.this)
    return text if identifier.args.get("quoted") else _folded(text)


def _folded(text: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in text)


def _fold_names(tree: exp.Expr) -> None:
    for identifier in tree.find_all(exp.Identifier):
        if not identifier.args.get("quoted"):
            identifier.set("this", _folded(str(identifier.this)))


def _refused(why: str) -> InvalidInputError:
    return InvalidInputError.for_field("data_source.sql", why)
