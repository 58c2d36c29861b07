"""A model that says what a test wrote down, and callers and clients that ask it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seedcore.llm.calls.model_caller import ModelCaller
from seedcore.llm.chat_client import ChatClient
from seedcore.settings import Settings, load_settings
from seedcore.stores.postgres import Database
from tests.conftest import _database, _execute
from tests.support.scripted_model import ScriptedModel, scripted_model

MakeCaller = Callable[..., ModelCaller]
MakeClient = Callable[..., ChatClient]


@pytest.fixture(scope="session")
def llm_dsn(postgres_server: str) -> str:
    """One database for all tests here: a fresh one takes longer than most of them."""
    name = f"llm_{uuid.uuid4().hex[:12]}"
    asyncio.run(_execute(postgres_server, f"create database {name} template template_seedcore"))
    return _database(postgres_server, name)


@pytest.fixture
async def llm_settings(llm_dsn: str, tmp_path: Path) -> Settings:
    """Settings that point at a database without a budget's row."""
    await _execute(llm_dsn, "truncate seedcore.llm_budgets")
    return load_settings(data_dir=tmp_path / "data", pg_dsn=llm_dsn)


@pytest.fixture
def model(starts_server: None) -> Iterator[ScriptedModel]:
    """A scripted model; `say` writes down what it answers."""
    with scripted_model() as made:
        yield made


@pytest.fixture
async def make_caller(model: ScriptedModel, llm_settings: Settings) -> AsyncIterator[MakeCaller]:
    """Makes a caller of the scripted model; arguments are settings by field name."""
    made: list[tuple[ModelCaller, Database]] = []

    def make(*, facade: bool = False, **more: Any) -> ModelCaller:
        given = {"data_dir": llm_settings.data_dir, "pg_dsn": llm_settings.pg_dsn, **model.settings(), **more}
        settings = load_settings(**given)
        database = Database(settings, size=4)
        made.append((ModelCaller(settings, database, facade=facade), database))
        return made[-1][0]

    yield make
    for caller, database in made:
        await caller.aclose()
        await database.aclose()


@pytest.fixture
def make_client(make_caller: MakeCaller) -> MakeClient:
    """Makes a client of the scripted model."""

    def make(**more: Any) -> ChatClient:
        caller = make_caller(**more)
        return ChatClient(caller.settings, Database(caller.settings), caller)

    return make
