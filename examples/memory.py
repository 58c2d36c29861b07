"""`python -m examples.memory`: the second occurrence of an incident is solved from the memory of the first.

A shop reads prices. In one market they come in another form one day: the skill fails, the valve opens, and SeedCore
tries what there is until a move helps. The same then happens in another market. Runs a SeedCore of its own, in a new
directory, and stops it; exit status 0 only if the second occurrence took fewer runs of skills than the first.
"""

import argparse
import asyncio
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from examples import demo
from examples.api import Api, JobError
from examples.memory_demo import MemoryDemo
from examples.memory_story import MemoryStory
from seedcore.cli.launch import background
from seedcore.settings import Settings

say = demo.say


def main(argv: Sequence[str] | None = None) -> int:
    """0 when memory made the second occurrence quicker, 1 when not, 2 for bad settings, 130 when interrupted."""
    options = _options(argv)
    if options.base_url:
        return demo.exit_status(lambda settings: _tell(options, settings))
    with tempfile.TemporaryDirectory(prefix="seedcore-memory-", ignore_cleanup_errors=True) as folder:
        # For the SeedCore that this starts, which inherits the environment.
        os.environ |= {
            "SEEDCORE_DATA_DIR": folder,
            "SEEDCORE_SKILLS": "examples.price_skills",
            "SEEDCORE_HTTP_PORT": str(_free_port()),
        }
        return demo.exit_status(lambda settings: _with_own(options, settings))


def _with_own(options: argparse.Namespace, settings: Settings) -> int:
    say(f"Starting a SeedCore at {settings.base_url}, in {settings.data_dir} (Ctrl-C stops it).")
    background.start(settings, say)
    try:
        return _tell(options, settings)
    finally:
        background.stop(settings)
        say("The SeedCore that the demo had started has stopped.")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _tell(options: argparse.Namespace, settings: Settings) -> int:
    began = time.monotonic()
    story = asyncio.run(_run(options, settings, began + options.timeout))
    if options.json:
        print(json.dumps(story.as_json() | {"total_s": round(time.monotonic() - began, 1)}, indent=1))
    else:
        Console().print(table(story), *sentences(story), sep="\n", highlight=False, markup=False)
    problems = story.problems()
    for problem in problems:
        say(f"Not the whole story: {problem}.")
    return 1 if problems else 0


async def _run(options: argparse.Namespace, settings: Settings, deadline: float) -> MemoryStory:
    api = Api((options.base_url or settings.base_url).rstrip("/"), settings, deadline)
    try:
        try:
            await api.json("GET", "/cognitive/health", within_s=demo.FIRST_CONTACT_S)
        except JobError as error:
            raise JobError(f"{error}. Does SeedCore listen there?") from None
        return await MemoryDemo(api, say, options.seed).run()
    finally:
        await api.aclose()


def table(story: MemoryStory) -> Table:
    """The story for people."""
    report = Table(title="Prices in another form, in one market and then in another", title_justify="left")
    for name in ("occurrence", "unnoticed", "tasks", "runs", "asked", "seconds"):
        report.add_column(name, justify="left" if name == "occurrence" else "right")
    for name, one in (("first", story.first), ("second", story.second)):
        numbers = (str(one.unnoticed), str(one.tasks), str(one.runs), str(one.asked), f"{one.seconds:.1f}")
        report.add_row(f"{name}, {one.market}", *numbers)
    return report


def sentences(story: MemoryStory) -> list[str]:
    """What is too long for the table: what was tried and why, and what was remembered."""
    said = []
    for one in (story.first, story.second):
        tried = ", ".join(f"{skill}{'' if ok else ' (failed)'}" for skill, ok in one.tried)
        said.append(f"{one.market}: tried {tried}; solved by {one.solved_by}: {one.reason}")
    return [*said, *(f"remembered: {text}" for text in story.remembered)]


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.memory", description=__doc__)
    parser.add_argument("--base-url", help="a running SeedCore with the skills of examples.price_skills")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds that it may take after the start (300)")
    parser.add_argument("--seed", type=int, default=0, help="of the prices (0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
