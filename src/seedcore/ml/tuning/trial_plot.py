"""Draws the trials of a search: the score over boosting rounds, one line a trial."""

import io
from collections.abc import Sequence

from seedcore.ml.tuning.trial_record import MAXIMIZED, BestTrial, TrialRecord

# Lines and markers differ, so that it reads without colours: (line, marker of the last report, width, colour).
_STYLES = {
    "completed": ("-", "o", 1.1, "#1f4e79"),
    "pruned": ("--", "x", 0.9, "#8a8a8a"),
    "running": ("-.", ">", 1.1, "#2e7d32"),
    "failed": (":", "v", 0.9, "#b00020"),
    "stopped": ("-.", "|", 1.1, "#8a8a8a"),
}
_LABELS = {name: name for name in _STYLES} | {"pruned": "pruned (ends at x)", "stopped": "stopped with the job"}


def draw_trials(trials: Sequence[TrialRecord], metric: str, best: BestTrial | None, title: str) -> str:
    """The plot as SVG; trials without a report are left out. It takes a second at first: call it in a thread."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    labelled: set[str] = set()
    for trial in trials:
        if not trial.scores:
            continue
        line, marker, width, colour = _STYLES[trial.status]
        rounds, scores = zip(*trial.scores, strict=True)
        label = None if trial.status in labelled else _LABELS[trial.status]
        labelled.add(trial.status)
        is_best = best is not None and trial.trial == best.trial
        axes.plot(
            rounds,
            scores,
            line,
            color="black" if is_best else colour,
            linewidth=2.4 if is_best else width,
            zorder=3 if is_best else 2,
            label=label,
            gid=f"trial-{trial.trial}",
        )
        axes.plot(rounds[-1], scores[-1], marker, color="black" if is_best else colour, markersize=6, zorder=4)
    if best is not None:
        text = f"best: trial {best.trial}, {best.score:.4g} at {best.rounds} rounds"
        axes.plot(best.rounds, best.score, "*", color="black", markersize=15, zorder=5, label=text, gid="best")
    axes.set_xlabel("boosting rounds")
    axes.set_ylabel(f"{metric} on validation rows ({'higher' if metric in MAXIMIZED else 'lower'} is better)")
    axes.set_title(title, parse_math=False)
    axes.grid(visible=True, linewidth=0.4, alpha=0.5)
    if labelled or best is not None:
        axes.legend(fontsize="small")
    else:
        axes.text(0.5, 0.5, "no trial has reported yet", ha="center", transform=axes.transAxes)
    target = io.StringIO()
    figure.savefig(target, format="svg", metadata={"Date": None})
    return target.getvalue()
