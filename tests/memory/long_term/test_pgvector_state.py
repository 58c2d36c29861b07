import pytest

from seedcore.memory.long_term.pgvector_state import judged, pgvector_state
from seedcore.memory.long_term.store import NO_PGVECTOR
from seedcore.stores.postgres import Database


@pytest.mark.parametrize(
    ("installed", "available", "tables", "fix"),
    [
        (None, None, False, "install it"),
        (None, "0.7.4", False, "install it"),
        (None, "0.8.0", False, "create extension vector"),
        ("0.7.4", "0.8.1", False, "alter extension vector update"),
        ("0.7.4", "0.7.4", False, "install 0.8 or newer"),
    ],
)
def test_what_is_missing_is_said_with_its_fix(
    installed: str | None, available: str | None, tables: bool, fix: str
) -> None:
    state = judged(installed, available, tables)
    assert state.fallback == NO_PGVECTOR
    assert fix in (state.reason or "")


@pytest.mark.parametrize("version", ["0.8.0", "0.8.5", "0.10.1", "1.0"])
def test_a_version_from_0_8_on_will_do(version: str) -> None:
    assert judged(version, version, True).fallback is None


async def test_the_embedded_server_has_what_vectors_need(database: Database) -> None:
    state = await pgvector_state(database)
    assert state.fallback is None
    assert state.version is not None
