"""The plot of `make demo-drift`: accuracy over time, with shift, alarm, candidate and promotion."""

from pathlib import Path

from examples.drift_story import EVENTS, Story, rolling

WIDTH = 50
STYLES = {"shift": "-", "alarm": "--", "retraining": "-.", "candidate": ":", "promotion": (0, (8, 2))}


def draw(story: Story, path: Path) -> None:
    """Write the plot as SVG; lines differ by style as well as colour."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 5), layout="constrained")
    points = rolling(story.answered, WIDTH)
    axes.plot([x for x, _ in points], [y for _, y in points], color="black", linewidth=1.5)
    for place, name in enumerate(name for name in EVENTS if name in story.events):
        event = story.events[name]
        axes.axvline(event.task, linestyle=STYLES[name], color="0.35", linewidth=1.2)
        text = f"{name} ({event.at_s:.0f} s)"
        axes.annotate(text, (event.task, 1.06 + 0.05 * (place % 3)), fontsize=8, ha="left", annotation_clip=False)
    axes.set_ylim(0, 1.22)
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    axes.set_xlabel("tasks of the stream")
    axes.set_ylabel(f"share of right answers, last {WIDTH} tasks")
    axes.set_title(f"{story.model}: answers to handwritten digits, before and after the scanner turned", loc="left")
    axes.grid(axis="y", color="0.85")
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)
