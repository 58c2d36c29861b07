"""A table belongs to one room: no other room's SQL names it, others ask that room's functions."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src/seedcore"
MIGRATIONS = SOURCES / "stores/migrations"

RELATIONS_OF = {
    "tasks": """admitted dead deadlines deferred ended events events_default finished finished_default gated held
        idempotency leases limits move_outcomes paused plan_ends plans ready recipes schedules sessions settings skills
        sql_roles stream_samples history task_state tasks tasks_default tenants ticks usage""",
    "fleet": """agent_change agent_memory agents energy_ledger energy_weights hosts quarantined_skills skill_deaths
        valves""",
    "organism": "evolutions host_plans organism organs",
    "coordinator": "holds retrainings triages",
    "state": "organ_samples samples",
    "memory": """fact_uses facts flashbulbs memories memory_intake memory_jobs
        memory_vectors""",
    "graph": "graph_changes graph_state graph_sums graph_vectors",
    "llm": "llm_budgets",
    "ml": """arrivals arrivals_counted model_aliases model_generation model_monitors model_uses outcomes predictions
        promotions tuning_trials""",
    "stores": "leaders metric_series schema_version snapshot_generation snapshots",
    "web": "api_keys audit",
}
OWNER = {relation: room for room, relations in RELATIONS_OF.items() for relation in relations.split()}

WHOLE_DATABASE = {
    # Before they replace the schema, they ask whether dispatchers live on it. `stores` is below `tasks`.
    "stores/migrate.py": {"sessions"},
    "stores/backup.py": {"sessions"},
}

IS_SQL = re.compile(r"\b(select|insert|update|delete|truncate|analyze|vacuum|lock table|copy)\b", re.IGNORECASE)
IS_PART = re.compile(r"\b(from|join|into)\s+seedcore\.")
NAMED = re.compile(r"(?<![\w.])seedcore\.([a-z_]+)(?![\w.(]| import)")
CREATED = re.compile(r"create\s+(?:table|view|sequence)\s+(?:if not exists\s+)?seedcore\.(\w+)")


def texts(path: Path) -> Iterator[str]:
    """Every text in a module but docstrings, adjoining ones as one; what an f-string pastes in is a space."""
    tree = ast.parse(path.read_text())
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in docs:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else " " for part in node.values)


def mapped_tables(path: Path) -> Iterator[str]:
    """Tables that SQLAlchemy maps."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Table"):
            yield from (a.value for a in node.args[:1] if isinstance(a, ast.Constant) and a.value in OWNER)


def relations(path: Path) -> set[str]:
    """Tables, views and sequences of SeedCore that the SQL in a file names."""
    if path.suffix == ".sql":
        statements, mapped = [path.read_text()], set[str]()
    else:
        # A part that is pasted into a statement elsewhere names a table behind a word of SQL (`exists (from …`).
        statements = [text for text in texts(path) if IS_SQL.search(text) or IS_PART.search(text)]
        mapped = set(mapped_tables(path))
    return mapped | {name for statement in statements for name in NAMED.findall(statement) if name in OWNER}


def files() -> list[Path]:
    found = [*SOURCES.rglob("*.py"), *SOURCES.rglob("*.sql")]
    return sorted(path for path in found if MIGRATIONS not in path.parents)


def test_every_relation_of_the_schema_has_an_owner() -> None:
    created = {name for path in MIGRATIONS.rglob("*.sql") for name in CREATED.findall(path.read_text())}
    assert created | {"schema_version"} == set(OWNER)


def test_no_relation_has_two_owners() -> None:
    assert len(OWNER) == sum(len(names.split()) for names in RELATIONS_OF.values())


def test_every_table_is_named_by_its_owner_alone() -> None:
    foreign = defaultdict(set)
    for path in files():
        place = path.relative_to(SOURCES)
        for name in relations(path) - WHOLE_DATABASE.get(str(place), set()):
            if OWNER[name] != place.parts[0]:
                foreign[str(place)].add(f"{name} belongs to {OWNER[name]}")
    assert "\n".join(f"{place}: {', '.join(sorted(names))}" for place, names in sorted(foreign.items())) == ""


@pytest.mark.parametrize("place", WHOLE_DATABASE)
def test_what_may_read_a_foreign_table_does(place: str) -> None:
    assert relations(SOURCES / place) >= WHOLE_DATABASE[place]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('X = "select id from seedcore.tasks t join seedcore.agents a on true"', {"tasks", "agents"}),
        ('X = f"insert into seedcore.{name} select 1 from seedcore.held"', {"held"}),
        ('X = "select 1 from" " seedcore.ready"', {"ready"}),
        ('X = ["lateral (table seedcore.dead)", f"exists (from seedcore.leases where {x})"]', {"leases"}),
        ('log = get_logger("seedcore.tasks")', set()),
        ('"""Reads seedcore.tasks: select it."""', set()),
        ('X = "select seedcore.settle($1), seedcore.tasks.id from seedcore.plans"', {"plans"}),
        ('t = sa.Table("flashbulbs", metadata)', {"flashbulbs"}),
    ],
)
def test_the_relations_of_a_text_are_found(tmp_path: Path, text: str, names: set[str]) -> None:
    path = tmp_path / "module.py"
    path.write_text(text)
    assert relations(path) == names
