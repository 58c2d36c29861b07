"""Where language models are: from the settings to the one server that a process asks."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from seedcore.llm.model_errors import LlmNotConfiguredError
from seedcore.settings import Settings

FAST, DEEP = "fast", "deep"

DEFAULT_URLS = {"openai": "https://api.openai.com/v1", "ollama": "http://127.0.0.1:11434/v1"}


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server that speaks OpenAI's protocol.

    Attributes:
        provider: the value of LLM_PROVIDER.
        base_url: ends in `/v1`.
        models: the model behind each alias; empty where the server's only one is meant.
        reserves: whether this process reserves the budget of a call; the facade does for those who ask it.
        api_key: what it is asked with.
    """

    provider: str
    base_url: str
    models: Mapping[str, str]
    reserves: bool = True
    api_key: SecretStr | None = field(default=None, repr=False)


def missing_upstream(settings: Settings) -> str | None:
    """Why there is no language model; None when one is set up. Starts nothing."""
    provider, url = settings.llm_provider, settings.llm_upstream_url
    if provider == "none":
        return "LLM_PROVIDER is none."
    if provider == "mlservice" and url is None:
        return "LLM_PROVIDER is mlservice, but LLM_UPSTREAM_URL is not set, so it counts as none."
    if provider == "vllm" and url is None:
        return "LLM_PROVIDER is vllm: set LLM_UPSTREAM_URL to its address."
    if provider == "openai" and url is None and settings.llm_api_key is None:
        return "LLM_PROVIDER is openai: set LLM_API_KEY."
    if provider == "embedded":
        from seedcore.stores.embedded.llama_files import missing_llama

        return missing_llama(settings)
    return None


def upstream_health(settings: Settings) -> dict[str, object]:
    """For health: who is asked, or why there is no one. Starts and asks nothing."""
    reason = missing_upstream(settings)
    found: dict[str, object] = {"provider": settings.llm_provider, "configured": reason is None}
    return found if reason is None else {**found, "reason": reason}


async def find_upstream(settings: Settings, *, facade: bool = False) -> Upstream:
    """The server to ask; the embedded one is started.

    Args:
        settings: what is set up.
        facade: True in the ML service, which is what `mlservice` means elsewhere: it asks LLM_UPSTREAM_URL itself.

    Raises:
        LlmNotConfiguredError: there is none; the detail says why.
        UnavailableError: the embedded server does not start.
    """
    if (reason := missing_upstream(settings)) is not None:
        raise LlmNotConfiguredError(f"There is no language model: {reason}")
    provider = settings.llm_provider
    if provider == "mlservice" and not facade:
        keys = settings.api_key_list
        key = SecretStr(keys[0]) if keys else None
        return Upstream(provider, f"{settings.base_url}/ml/v1", {FAST: FAST, DEEP: DEEP}, reserves=False, api_key=key)
    if provider == "embedded":
        from seedcore.stores.embedded import embedded_llama
        from seedcore.stores.embedded.llama_files import api_key, model_name

        uri = await asyncio.to_thread(embedded_llama(settings).acquire, settings.llm_timeout_s)
        name = model_name(settings)
        return Upstream(provider, f"{uri}/v1", {FAST: name, DEEP: name}, api_key=SecretStr(api_key(settings.data_dir)))
    given = settings.llm_upstream_url
    url = given.get_secret_value() if given is not None else DEFAULT_URLS[provider]
    return Upstream(provider, url, aliases(settings), api_key=settings.llm_api_key)


def aliases(settings: Settings) -> dict[str, str]:
    """The model behind each alias, where the settings name one."""
    named = {FAST: settings.llm_model_fast or settings.llm_model, DEEP: settings.llm_model_deep or settings.llm_model}
    return {alias: model for alias, model in named.items() if model is not None}
