"""`python -m examples.drift`: the world changes, and SeedCore repairs its model by itself.

A classifier of handwritten digits answers a stream of tasks whose true labels come in later. Then the scanner is turned
by 90 degrees, which is all that is scripted. The valve opens, triage retrains by the policy in `drift_policy.yaml`, the
candidate answers in the shadow, and the gate promotes it. Starts SeedCore if none answers, and leaves it running;
`--stop` stops only what a demo has started.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from examples import demo, drift_digits
from examples.api import Api, JobError
from examples.drift_plot import draw
from examples.drift_story import EVENTS, WORDS, Story
from examples.drift_stream import DriftDemo, StreamPlan
from seedcore.cli.launch import background
from seedcore.settings import Settings

POLICY = Path(__file__).with_name("drift_policy.yaml")
say = demo.say


def main(argv: Sequence[str] | None = None) -> int:
    """0 when the whole story happened, 1 when not, 2 for bad settings, 130 when interrupted."""
    options = _options(argv)
    # For the SeedCore that this starts; one that runs has its own policy, which is checked.
    os.environ.setdefault("SEEDCORE_POLICY_PATH", str(POLICY))
    return demo.exit_status(lambda settings: demo.stop(settings) if options.stop else _run(options, settings))


def _run(options: argparse.Namespace, settings: Settings) -> int:
    began = time.monotonic()
    contact_s = demo.FIRST_CONTACT_S if options.base_url else demo.start(settings)
    deadline = began + options.timeout
    plan = StreamPlan(rate=options.rate)
    story = asyncio.run(_tell_story(options, settings, plan, deadline, contact_s))
    draw(story, options.plot)
    if options.json:
        print(json.dumps(story.as_json(plan.after) | {"plot": str(options.plot)}, indent=1))
    else:
        Console().print(table(story, plan, time.monotonic() - began))
    say(f"The plot is in {options.plot}.")
    if not options.base_url and background.started(settings):
        say(f"SeedCore keeps running at {settings.base_url}; `make demo ARGS=--stop` stops it.")
    problems = story.problems(plan.after)
    for problem in problems:
        say(f"Not the whole story: {problem}.")
    return 1 if problems else 0


async def _tell_story(
    options: argparse.Namespace, settings: Settings, plan: StreamPlan, deadline: float, contact_s: float
) -> Story:
    base_url = (options.base_url or settings.base_url).rstrip("/")
    api = Api(base_url, settings, deadline)
    try:
        try:
            await api.json("GET", "/ml/health", within_s=contact_s)
        except JobError as error:
            raise JobError(f"{error}. Does SeedCore listen there (`make run` starts one)?") from None
        digits = await asyncio.to_thread(drift_digits.load, options.seed)
        return await DriftDemo(api, digits, plan, say).run(deadline)
    finally:
        await api.aclose()


def table(story: Story, plan: StreamPlan, seconds: float) -> Table:
    """The story for people."""
    report = Table(title="Handwritten digits, and a scanner that turns by 90 degrees", title_justify="left")
    report.add_column("what")
    report.add_column("tasks", justify="right")
    report.add_column("second", justify="right")
    report.add_column("found")
    for name in EVENTS:
        event = story.events.get(name)
        if event is None:
            report.add_row(WORDS[name], "", "", "[red]did not happen[/red]")
        else:
            report.add_row(WORDS[name], str(event.task), f"{event.at_s:.0f}", event.detail)
    report.add_section()
    for phase in story.phases():
        found = "none answered" if phase.accuracy is None else f"accuracy {phase.accuracy:.3f}"
        report.add_row(phase.name, str(phase.tasks), "", found)
    report.add_section()
    held_out = "" if story.trained_accuracy is None else f"{story.trained_accuracy:.3f} on held-out rows"
    report.add_row("version at first", str(story.first_version), "", held_out)
    report.add_row("version at last", str(story.last_version), "", f"{plan.rate:g} tasks a second at most")
    report.add_row("failed tasks", str(story.failed), "", "")
    report.add_row("all in all, with the start", "", f"{seconds:.0f}", "")
    return report


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.drift", description=__doc__)
    parser.add_argument("--stop", action="store_true", help="stop only the SeedCore that a demo has started")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split and of the stream's order (default 0)")
    parser.add_argument("--rate", type=float, default=25.0, help="tasks a second at most (default 25)")
    parser.add_argument("--base-url", help="a running SeedCore (default: from the settings, started if needed)")
    parser.add_argument("--timeout", type=float, default=290.0, help="seconds that all may take (default 290)")
    parser.add_argument("--plot", type=Path, default=Path("drift.svg"), help="file of the plot (default drift.svg)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
