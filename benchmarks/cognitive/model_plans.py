"""Plans of the embedded small model: how many are valid at once, and how many after the round that corrects them."""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from rich.console import Console

from seedcore.cognitive.engines.engine import Asker
from seedcore.cognitive.engines.llm import prompts
from seedcore.cognitive.engines.llm.asking import Spent, UnusableAnswerError, ask
from seedcore.cognitive.engines.llm.closed_plans import closed_plan
from seedcore.cognitive.engines.llm.draft_plans import plan_of
from seedcore.cognitive.engines.llm.drafts import PlanDraft
from seedcore.errors import DeadlineError
from seedcore.llm.chat_client import ChatClient
from seedcore.ml.service import MLService
from seedcore.settings import Settings, load_settings
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.signatures import signatures
from seedcore.stores.embedded import embedded_llama, embedded_postgres
from seedcore.stores.migrate import migrate
from seedcore.stores.postgres import Database
from seedcore.tasks.plans.plan import PlanDefinition

USED = ("http.fetch", "text.summarize", "text.keywords", "echo")
SUMMARY, KEYWORDS, PAGE, BOTH = ["text.summarize"], ["text.keywords"], ["http.fetch"], ["http.fetch", "text.summarize"]
GOALS = [
    *((goal, "text", SUMMARY) for goal in ("Summarise the text.", "Give me a summary.", "Make this text shorter.")),
    *((goal, "text", SUMMARY) for goal in ("What does the text say, in short?", "Sum it up, please.")),
    *((goal, "text", KEYWORDS) for goal in ("Find the keywords of the text.", "Which words matter most?")),
    *((goal, "text", KEYWORDS) for goal in ("List the main terms of the text.", "Extract keywords, please.")),
    *((goal, "url", PAGE) for goal in ("Fetch the page.", "Get the page at this address.", "Read the web page.")),
    *((goal, "url", PAGE) for goal in ("Download the page, please.", "What is at this address?")),
    *((goal, "url", BOTH) for goal in ("Fetch the page and summarise it.", "Summarise the page at this address.")),
    *((goal, "url", ["http.fetch", "text.keywords"]) for goal in ("Find the keywords of the page.",)),
    *((goal, "value", ["echo"]) for goal in ("Give back the value.", "Echo the value.", "Return what I gave you.")),
]
"""Goals, the name of their input, and the skills that a person would choose."""
VALUES = {"text": "a", "url": "https://example.org/", "value": 1}
TIMEOUT_S, MAX_TOKENS = 120, 400


@asynccontextmanager
async def small_model(folder: str) -> AsyncIterator[tuple[Settings, Database]]:
    """The embedded model and an empty database."""
    settings = load_settings(data_dir=Path(folder), llm_provider="embedded", llm_max_tokens=MAX_TOKENS)
    embedded_postgres(settings).acquire()
    try:
        await asyncio.to_thread(migrate, settings)
        database = Database(settings)
        yield settings, database
        await database.aclose()
    finally:
        embedded_llama(settings).release()
        embedded_postgres(settings).release()


async def first_tokens(settings: Settings, messages: list[list[dict[str, str]]]) -> list[float]:
    """Seconds to the first token of each, streamed through ML's facade in this process."""
    service = MLService({}, settings, background=False)
    await service.start()
    seconds = []
    try:
        transport = httpx.ASGITransport(service.build_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://ml", timeout=TIMEOUT_S) as client:
            for said in messages:
                body = {"model": "fast", "messages": said, "max_tokens": 1, "stream": True}
                begun = time.perf_counter()
                # One token: the transport hands over a stream once it has ended.
                (await client.post("/v1/chat/completions", json=body)).raise_for_status()
                seconds.append(time.perf_counter() - begun)
    finally:
        await service.stop()
    return seconds


async def measure(console: Console, goals: int, folder: str) -> None:
    async with small_model(folder) as (settings, database):
        chat = ChatClient(settings, database)
        registry = SkillRegistry.load(settings)
        skills = {name: skill for name, skill in signatures(registry.values()).items() if name in USED}
        described = {spec.name: spec.description for spec in registry.values()}
        first = second = right = 0
        seconds, asked = [], []
        for n in range(goals):
            goal, name, wanted = GOALS[n % len(GOALS)]
            inputs = {name: VALUES[name]}
            messages = prompts.planning(goal, inputs, skills, described, [], 8)
            asked.append([{"role": message.role, "content": message.content} for message in messages])

            def check(draft: PlanDraft, inputs: dict = inputs, goal: str = goal) -> PlanDefinition:
                return plan_of(draft.steps, draft.output, skills, inputs, max_steps=8, said=goal)

            kind, spent, begun = closed_plan(skills, inputs, 8), Spent(), time.perf_counter()
            try:
                plan = await ask(
                    chat, messages, kind, check, profile="fast", asker=Asker(), spent=spent, timeout_s=TIMEOUT_S
                )
            except (UnusableAnswerError, DeadlineError) as error:
                console.print(f"{goal!r}: {error.detail[:300]}", style="dim")
                continue
            finally:
                seconds.append(time.perf_counter() - begun)
            chosen = [step.skill for step in plan.steps]
            console.print(f"{goal!r}: {json.dumps(chosen)}{' after correction' * bool(spent.refusals)}", style="dim")
            first += not spent.refusals
            second += 1
            right += chosen == wanted
        await chat.aclose()
        console.print(
            f"model: {first} of {goals} plans valid at once, {second} after one round of correction, {right} with the "
            f"skills that a person would choose; {statistics.mean(seconds):.1f} s a goal"
        )
        taken = await first_tokens(settings, asked)
        console.print(
            f"first token through the facade: {taken[0]:.2f} s for the first prompt, then p50 "
            f"{statistics.median(taken[1:] or taken):.2f} s, at most {max(taken[1:] or taken):.2f} s"
        )
