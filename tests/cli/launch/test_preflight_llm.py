"""The check of the embedded language model before a start."""

import importlib.util

import pytest

from seedcore.cli.launch.preflight import check_llm
from seedcore.errors import SettingsError
from seedcore.settings import load_settings


def test_a_start_without_the_embedded_models_packages_ends_with_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(SettingsError, match="pip install"):
        check_llm(load_settings(llm_provider="embedded"))
    for provider in ("none", "mlservice", "openai", "ollama", "vllm"):
        check_llm(load_settings(llm_provider=provider))
