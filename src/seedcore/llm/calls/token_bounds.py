"""Upper bounds of the tokens of a call, before it is sent."""

import json
from collections.abc import Mapping
from typing import Any

TEMPLATE_TOKENS = 64
"""What a chat template may add, such as a system message of its own."""
MESSAGE_TOKENS = 16
"""What it may add to each message."""


def prompt_bound(body: Mapping[str, Any]) -> int:
    """At most so many tokens has the prompt of a request in OpenAI's protocol.

    A token of byte-level vocabularies stands for one byte or more, so bytes bound tokens whatever the language; text is
    nearer to a quarter of them. Settlement gives back the difference.
    """
    messages = body.get("messages") or ()
    # All of it: servers put more into a prompt than messages, such as documents, functions and templates.
    size = len(json.dumps(body, ensure_ascii=False).encode(errors="surrogatepass"))
    count = len(messages) if isinstance(messages, list) else 1
    return size + MESSAGE_TOKENS * count + TEMPLATE_TOKENS


def output_bound(body: Mapping[str, Any]) -> int:
    """At most so many tokens has the answer; the request must say its maximum."""
    most = body.get("max_completion_tokens") or body.get("max_tokens") or 0
    return int(most) * max(1, int(body.get("n") or 1))
