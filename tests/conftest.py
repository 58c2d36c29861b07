"""What the whole suite shares: an isolated environment, and one embedded PostgreSQL for all integration tests."""

import asyncio
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# A shell that starts this in the background has SIGINT ignored, and so would all children: some tests send it to them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before anything imports Ray: tests never turn token authentication on by accident, nor report usage.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from seedcore.settings import Settings, get_settings, load_settings
from tests.support.no_sockets import no_sockets

# How long one example takes says how busy the machine is, not whether the code is right.
hypothesis.settings.register_profile("seedcore", deadline=None)
# `make test-unit` asks for it: a fifth of the examples, for a quick answer while one works.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=20)
hypothesis.settings.load_profile("seedcore")

KEEP = ("RAY_AUTH_MODE", "RAY_USAGE_STATS_ENABLED", "SEEDCORE_REQUIRE_SERVICES")
PLAIN_LINES = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
OURS = (
    "SEEDCORE_",
    "RAY_",
    "REDIS_URL",
    "NEO4J_",
    "LOG_LEVEL",
    "LLM_",
    "BOOTSTRAP_MODE",
    "COGNITIVE_",
    "XGB_",
    "OTEL_",
)


STARTS_RAY = (
    "tests/e2e/",
    "tests/examples/test_ray_examples.py",
    "tests/utils/test_ray_tls.py",
    "tests/utils/metrics/",
    "tests/utils/test_ray_utils.py",
    "tests/organism/test_cluster.py",
    "tests/worker/execution/test_deadly_",
    "tests/ml/tuning/test_search_on_ray.py",
)


class Files(LoadFileScheduling):
    """Files side by side, but those that start a Ray one after the other."""

    def _split_scope(self, nodeid: str) -> str:
        return "ray" if nodeid.startswith(STARTS_RAY) else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Files:
    """For `-n`."""
    return Files(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a server; those that start a Ray come first, as they take longest."""
    for item in items:
        if isinstance(item, pytest.Function) and starts_server.__name__ in item.fixturenames:
            item.add_marker(pytest.mark.integration)
    items.sort(key=lambda item: not item.nodeid.startswith(STARTS_RAY))


@pytest.fixture(scope="session")
def starts_server() -> None:
    """Requested by each fixture that starts a server or a process: what uses it becomes an integration test."""


AUDIT_WRITE = "seedcore.web.access.audit_log.AuditLog._write"


async def _unwritten(_log: object, _entries: object) -> None:
    """Without a database there is no audit log."""


@pytest.fixture
def no_audit_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a service that was not started, and has no database."""
    monkeypatch.setattr(AUDIT_WRITE, _unwritten)


@pytest.fixture(autouse=True)
def _no_sockets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test without the marker `integration` or `e2e` connects to nothing, and nothing can connect to it."""
    if any(request.node.get_closest_marker(name) for name in ("integration", "e2e")):
        yield
        return

    monkeypatch.setattr(AUDIT_WRITE, _unwritten)
    with no_sockets(request.node.nodeid):
        yield


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(OURS) and name not in KEEP:
            monkeypatch.delenv(name)
    get_settings.cache_clear()
    # A test that configures logs binds them to its own captured stream. By default, tracebacks are plain: structlog's
    # own renderer shows the values of variables, which takes seconds where an error is logged.
    structlog.reset_defaults()
    *processors, _ = structlog.get_config()["processors"]
    structlog.configure(processors=[*processors, PLAIN_LINES])
    yield
    get_settings.cache_clear()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a data directory of the test's own."""
    return load_settings(data_dir=tmp_path / "data")


@pytest.fixture(scope="session")
def postgres_server(starts_server: None) -> Iterator[str]:
    """URI of an embedded PostgreSQL for the session, whose template database is migrated."""
    from seedcore.stores.embedded import embedded_postgres
    from seedcore.stores.migrate import migrate

    folder = Path(tempfile.mkdtemp(prefix="sct"))
    folder.chmod(0o755)
    server_settings = load_settings(data_dir=folder / "data")
    server = embedded_postgres(server_settings)
    uri = server.acquire()
    asyncio.run(_execute(uri, "create database template_seedcore"))
    migrate(load_settings(data_dir=folder / "data", pg_dsn=_database(uri, "template_seedcore")))
    yield uri
    server.release()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def pg_dsn(postgres_server: str) -> AsyncIterator[str]:
    """DSN of a fresh, migrated database."""
    name = f"t{uuid.uuid4().hex[:12]}"
    await _execute(postgres_server, f"create database {name} template template_seedcore")
    yield _database(postgres_server, name)
    await _execute(postgres_server, f"drop database if exists {name} with (force)")


@pytest.fixture
def pg_settings(pg_dsn: str, tmp_path: Path) -> Settings:
    """Settings that point at a fresh, migrated database."""
    return load_settings(data_dir=tmp_path / "data", pg_dsn=pg_dsn)


@pytest.fixture
async def empty_pg_settings(postgres_server: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Settings that point at a database that nobody has migrated."""
    name = f"e{uuid.uuid4().hex[:12]}"
    await _execute(postgres_server, f"create database {name} template template0")
    yield load_settings(data_dir=tmp_path / "data", pg_dsn=_database(postgres_server, name))
    await _execute(postgres_server, f"drop database if exists {name} with (force)")


@pytest.fixture
def require_service() -> Callable[[bool, str], None]:
    """Skip a test whose server is missing; fail it where SEEDCORE_REQUIRE_SERVICES=1."""

    def check(present: bool, what: str) -> None:
        if present:
            return
        if os.environ.get("SEEDCORE_REQUIRE_SERVICES") == "1":
            pytest.fail(f"{what} is required here and missing")
        pytest.skip(f"{what} is missing")

    return check


def _database(uri: str, name: str) -> str:
    head, _, tail = uri.partition("?")
    return f"{head.rsplit('/', 1)[0]}/{name}?{tail}"


async def _execute(uri: str, statement: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(uri)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
