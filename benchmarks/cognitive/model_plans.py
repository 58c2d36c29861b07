"""Plans of the embedded small model: how many are valid at once, and how many after the round that corrects them."""

import asyncio
import time
from pathlib import Path

from rich.console import Console

from seedcore.cognitive.engines.engine import Asker
from seedcore.cognitive.engines.llm import prompts
from seedcore.cognitive.engines.llm.asking import Spent, UnusableAnswerError, ask
from seedcore.cognitive.engines.llm.draft_plans import plan_of
from seedcore.cognitive.engines.llm.drafts import PlanDraft
from seedcore.errors import DeadlineError
from seedcore.llm.chat_client import ChatClient
from seedcore.settings import load_settings
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.signatures import signatures
from seedcore.stores.embedded import embedded_llama, embedded_postgres
from seedcore.stores.migrate import migrate
from seedcore.stores.postgres import Database
from seedcore.tasks.plans.plan import PlanDefinition

USED = ("http.fetch", "text.summarize", "text.keywords", "echo")
GOALS = [
    ("Summarise the text.", {"text": "a"}),
    ("Find the keywords of the text.", {"text": "a"}),
    ("Fetch the page.", {"url": "https://example.org/"}),
    ("Fetch the page and summarise it.", {"url": "https://example.org/"}),
    ("Give back the value.", {"value": 1}),
]


async def measure(console: Console, goals: int, folder: str) -> None:
    settings = load_settings(data_dir=Path(folder), llm_provider="embedded", llm_max_tokens=256)
    embedded_postgres(settings).acquire()
    await asyncio.to_thread(migrate, settings)
    database = Database(settings)
    chat = ChatClient(settings, database)
    registry = SkillRegistry.load(settings)
    skills = {name: skill for name, skill in signatures(registry.values()).items() if name in USED}
    described = {spec.name: spec.description for spec in registry.values()}
    first = second = 0
    seconds = []
    for n in range(goals):
        goal, inputs = GOALS[n % len(GOALS)]
        messages = prompts.planning(goal, inputs, skills, described, [], 8)

        def check(draft: PlanDraft, inputs: dict = inputs, goal: str = goal) -> PlanDefinition:
            return plan_of(draft.steps, draft.output, skills, inputs, max_steps=8, said=goal)

        spent, begun = Spent(), time.perf_counter()
        try:
            await ask(chat, messages, PlanDraft, check, profile="fast", asker=Asker(), spent=spent, timeout_s=120)
        except (UnusableAnswerError, DeadlineError):
            continue
        finally:
            seconds.append(time.perf_counter() - begun)
        first += not spent.refusals
        second += 1
    console.print(
        f"model: {first} of {goals} plans valid at once, {second} after one round of correction; "
        f"{sum(seconds) / len(seconds):.1f} s a goal"
    )
    await chat.aclose()
    await database.aclose()
    embedded_llama(settings).release()
    embedded_postgres(settings).release()
