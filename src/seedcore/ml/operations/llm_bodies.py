"""What may go to a language model's server, and what may come back from it."""

import json
import math
from collections.abc import Iterator
from typing import Any

import orjson

from seedcore.errors import InvalidInputError
from seedcore.llm.model_errors import ModelAnswerError

MAX_BITS = 64
OTHER_MAXIMA = frozenset(
    {
        "best_of",
        "max_gen_len",
        "max_length",
        "max_new_tokens",
        "max_output_tokens",
        "n_cmpl",
        "n_predict",
        "num_predict",
    }
)
"""What servers also take for how much to write: it would go past the reservation of a call."""


def check_json(body: dict[str, Any]) -> None:
    """Refuse what Python reads as JSON and other readers do not: NaN, lone surrogates, integers of more than 64 bits.

    Raises:
        InvalidInputError: names the first such field.
    """
    try:
        orjson.dumps(body)
        json.dumps(body, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        for field, value in _leaves(body):
            if (fault := _fault(value)) is not None:
                raise InvalidInputError.for_field(field, fault) from None
        raise InvalidInputError.for_field("(body)", "is nested too deeply") from None


def check_maximum(body: dict[str, Any]) -> None:
    """Refuse a chat that says how much to write by a name that no budget is held against.

    Raises:
        InvalidInputError: names the field.
    """
    for name in sorted(OTHER_MAXIMA & body.keys()):
        raise InvalidInputError.for_field(name, "is not taken: say `max_tokens`, and `n` for how many answers")


def check_completion(body: dict[str, Any]) -> None:
    """Refuse an answer that is no chat completion.

    Raises:
        ModelAnswerError: it has no choices.
    """
    choices = body.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise ModelAnswerError("The language model's server answered something that is no chat completion.")


def check_embeddings(body: dict[str, Any], expected: int) -> None:
    """Refuse an answer that has not one vector for each of `expected` inputs.

    Raises:
        ModelAnswerError: it has not.
    """
    data = body.get("data")
    if not isinstance(data, list) or len(data) != expected or not all(isinstance(one, dict) for one in data):
        raise ModelAnswerError("The language model's server did not answer one vector for each input.")


def check_event(event: bytes) -> str:
    """The JSON text of one event of a streamed answer.

    Raises:
        ModelAnswerError: it is no JSON object.
    """
    try:
        text = event.decode()
        if isinstance(orjson.loads(text), dict):
            return text
    except (UnicodeDecodeError, orjson.JSONDecodeError):
        pass
    raise ModelAnswerError("The language model's server streamed something that is no JSON object.")


def _leaves(value: object) -> Iterator[tuple[str, object]]:
    """Every value that holds no others, and every key, with where it is; without recursion."""
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, dict):
            for key in item:
                yield f"{path}.{_shown(key)}".lstrip("."), key
            waiting += [(f"{path}.{_shown(key)}".lstrip("."), inner) for key, inner in item.items()]
        elif isinstance(item, list):
            waiting += [(f"{path}.{index}".lstrip("."), inner) for index, inner in enumerate(item)]
        else:
            yield path, item


def _shown(key: object) -> str:
    return str(key).encode(errors="replace").decode()[:100]


def _fault(value: object) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return f"must be an integer of {MAX_BITS} bits"
    if isinstance(value, str) and not value.isprintable():
        try:
            value.encode()
        except UnicodeEncodeError:
            return "must not hold lone surrogates"
    return None
