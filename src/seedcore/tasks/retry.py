"""When a failed attempt runs again: exponential backoff with full jitter.

Full jitter spreads the retries of tasks that failed together over the whole pause (Brooker, "Exponential Backoff And
Jitter", AWS Architecture Blog, 2015).
"""

import random


def backoff_s(attempt: int, base_s: float, max_s: float) -> float:
    """The longest pause after attempt number `attempt` (the first is 1), in seconds."""
    # 2.0 ** 1024 would overflow; every setting's max_s is far below the bound.
    return min(max_s, base_s * 2.0 ** min(attempt - 1, 1000))


def jittered_s(longest_s: float) -> float:
    """A pause from 0 to `longest_s`, uniformly drawn."""
    return random.uniform(0, longest_s)  # noqa: S311 - jitter
