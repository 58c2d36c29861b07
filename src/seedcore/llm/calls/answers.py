"""What the server of a language model answers: statuses as errors, and what a call used."""

import json
from collections.abc import Mapping
from typing import Any

from seedcore.errors import OverloadedError, SeedCoreError, UnavailableError, from_problem
from seedcore.llm.model_errors import ModelAnswerError, ModelRefusedError
from seedcore.llm.prices import ModelUsage
from seedcore.llm.upstream import Upstream
from seedcore.telemetry.logs import mask

MAX_TOKENS = 1_000_000_000
SHOWN = 300
RETRY_STATUSES = frozenset({408, 409, 429, 500, 502, 503, 504})


def error_of(upstream: Upstream, status: int, body: bytes, retry_after: str | None) -> SeedCoreError:
    """The error behind a status that is no success."""
    problem = _problem(body)
    if problem is not None and not upstream.reserves:
        return from_problem(problem)
    said = _said(upstream, problem, body)
    if status == 429:
        return OverloadedError(
            f"The language model's server has too much to do{said}.", retry_after_s=_wait(retry_after)
        )
    if status in RETRY_STATUSES:
        return UnavailableError(
            f"The language model's server answers {status}{said}.", retry_after_s=_wait(retry_after)
        )
    if status in (401, 403):
        said = f": check LLM_API_KEY{said}"
    return ModelRefusedError(f"The language model's server answers {status}{said}.", upstream_status=status)


def usage_of(answer: Mapping[str, Any]) -> ModelUsage | None:
    """What an answer says it used; None when it says nothing that can be right."""
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        return None
    counts = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
    if all(isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= MAX_TOKENS for count in counts):
        return ModelUsage(*counts)  # type: ignore[arg-type]
    return None


def answer_of(body: bytes) -> dict[str, Any]:
    """The JSON object that a server answered.

    Raises:
        ModelAnswerError: it is none.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise ModelAnswerError("The language model's server answered something that is no JSON object.")
    return answer


def _problem(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "code" in found else _inner(found)


def _inner(found: object) -> dict[str, Any] | None:
    error = found.get("error") if isinstance(found, dict) else None
    return error if isinstance(error, dict) else None


def _said(upstream: Upstream, problem: Mapping[str, Any] | None, body: bytes) -> str:
    """What the server said, short and without the key, which some quote."""
    text = str(problem.get("message") or problem.get("detail") or "") if problem else body.decode(errors="replace")
    key = upstream.api_key.get_secret_value() if upstream.api_key is not None else ""
    text = mask(" ".join(text.split()))
    text = text.replace(key, "***") if key else text
    return f" ({text[:SHOWN].rstrip('.')})" if text else ""


def _wait(header: str | None) -> float | None:
    try:
        wait = float(header or "")
    except ValueError:
        return None
    return wait if 0 <= wait <= 86_400 else None
