"""The embedded small model reads every text of `tests/cognitive/engines/llm/injection.py`: how many get through."""

import time

from rich.console import Console

from benchmarks.cognitive.model_plans import small_model
from tests.cognitive.engines.llm.injection import WAYS, got_through, reading


async def measure(console: Console, ways: int, folder: str) -> bool:
    through, by_model = [], 0
    begun = time.perf_counter()
    async with small_model(folder) as (settings, _), reading(settings) as ask:
        names = list(WAYS)[:ways]
        for name in names:
            answer = await ask(name)
            by_model += answer["engine"] == "llm"
            through += [name] if got_through(answer) else []
    console.print(
        f"injection: {len(through)} of {len(names)} texts got through; {by_model} plans were the model's own; "
        f"{(time.perf_counter() - begun) / len(names):.1f} s each"
    )
    for name in through:
        console.print(f"got through: {name}")
    return not through
