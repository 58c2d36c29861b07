"""The plot of `make demo-drift`: accuracy over time, with shift, alarm, candidate and promotion."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from examples.drift_story import EVENTS, WORDS, Story, rolling

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 50
KEY_WIDTH = 120
STYLES = {"shift": "-", "alarm": "--", "retraining": "-.", "candidate": ":", "promotion": (0, (8, 2))}
ROW = 0.055
"""Distance of two rows of marks, as a part of the plot's height."""


def draw(story: Story, path: Path) -> None:
    """Write the plot as SVG: numbered lines with a key below, and each phase's share; it reads without colours."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 6.4), layout="constrained")
    points = rolling(story.answered, WIDTH)
    axes.plot([x for x, _ in points], [100 * y for _, y in points], color="black", linewidth=1.5)
    _phases(story, axes)
    events = [story.events[name] for name in EVENTS if name in story.events]
    key, placed = [], [float("-inf")] * 3
    span = max([one.number for one in story.answered] + [event.task for event in events], default=0) or 1
    for number, event in enumerate(events, start=1):
        axes.axvline(event.task, linestyle=STYLES[event.name], color="0.35", linewidth=1.2)
        # Marks that are close to each other stand in different rows.
        row = next((n for n, last in enumerate(placed) if event.task - last > 0.03 * span), len(placed) - 1)
        placed[row] = event.task
        circle = {"boxstyle": "circle,pad=0.25", "facecolor": "white", "edgecolor": "0.2"}
        place = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "center"}
        axes.text(event.task, 1.035 + ROW * row, str(number), gid=f"event-{event.name}", bbox=circle, **place)
        said = f"{number}  {event.name}, task {event.task}, {event.at_s:.0f} s: {WORDS[event.name]} ({event.detail})"
        key += textwrap.wrap(said, KEY_WIDTH, subsequent_indent="    ")
    axes.set_ylim(0, 105)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlabel("tasks of the stream\n\n" + "\n".join(key), loc="left", fontsize=10, linespacing=1.5)
    axes.set_ylabel(f"right answers in percent, last {WIDTH} tasks")
    title = "The world changes, and the model is repaired: answers to handwritten digits"
    axes.set_title(title, loc="left", pad=12 + 22 * sum(last > float("-inf") for last in placed))
    axes.grid(axis="y", color="0.85")
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def _phases(story: Story, axes: "Axes") -> None:
    """Draw each phase's share of right answers as a wide line over its tasks, with the number."""
    for phase, answered in zip(story.phases(), story.parts(), strict=True):
        if phase.accuracy is None:
            continue
        first, last = min(one.number for one in answered), max(one.number for one in answered)
        share = 100 * phase.accuracy
        axes.hlines(share, first, last, color="0.6", linewidth=6, alpha=0.6, zorder=1)
        place = share - 15 if share > 50 else share + 18
        box = {"facecolor": "white", "edgecolor": "none", "pad": 2}
        axes.text((first + last) / 2, place, f"{phase.name}: {share:.0f} %", ha="center", va="center", bbox=box)
