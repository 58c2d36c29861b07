"""Draws a promotion: the gain with its confidence sequence over outcomes, as SVG. Needs matplotlib (extra `tune`)."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from seedcore.errors import NotConfiguredError
from seedcore.ml.gate.promotion_repository import Promotion

DARK, GREY = "#202020", "#9a9a9a"
MARKS = {"promoted": "^", "rolled_back": "X", "refused": "s"}


def draw_gain(promotion: Promotion) -> bytes:
    """An SVG document of one promotion. Blocking: it takes some tenths of a second.

    Raises:
        NotConfiguredError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise NotConfiguredError("Plots need matplotlib: install SeedCore with the extra `tune`.") from None
    # Texts stay texts, and the same promotion gives the same document.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": str(promotion.id)}):
        figure = Figure(figsize=(8.0, 4.5), layout="constrained")
        axes = figure.add_subplot()
        _draw(axes, promotion)
        out = BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": "SeedCore"})
    return out.getvalue()


def _draw(axes: Any, promotion: Promotion) -> None:
    evidence, gain = promotion.evidence, promotion.evidence.get("gain", {})
    points: Sequence[Sequence[float]] = evidence.get("points", ())
    margin = float(gain.get("margin", promotion.terms.get("margin", 0.0)))
    axes.set_title(f"{promotion.name}: version {promotion.candidate} against {promotion.champion or 'none'}")
    axes.set_xlabel("outcomes")
    axes.set_ylabel("gain (loss of the champion - loss of the candidate)")
    axes.axhline(margin, color=DARK, linewidth=1.2, linestyle="--")
    axes.annotate(
        f"needed: more than {margin:g}",
        (0.995, margin),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="bottom",
        fontsize=8,
    )
    if not points:
        why = evidence.get("reason") or f"decided by: {evidence.get('decided_by', 'nothing yet')}"
        axes.text(
            0.5, 0.6, f"{promotion.status}, without outcomes\n{why}", ha="center", transform=axes.transAxes, wrap=True
        )
        axes.set_ylim(-1, 1)
        return
    x, mean, lower, upper = zip(*points, strict=True)
    axes.fill_between(x, lower, upper, color=GREY, alpha=0.35, linewidth=0)
    axes.plot(x, mean, color=DARK, linewidth=1.6, label="gain")
    axes.plot(x, lower, color=DARK, linewidth=0.9, linestyle=":", label=f"lower bound (error {gain.get('alpha', 0):g})")
    axes.plot(x, upper, color=DARK, linewidth=0.9, linestyle="-.", label="upper bound")
    if promotion.status in MARKS:
        decided = "promoted" if promotion.status == "rolled_back" else promotion.status
        axes.plot(
            [x[-1]],
            [mean[-1]],
            MARKS[decided],
            color=DARK,
            markersize=9,
            label=f"{decided} at {evidence.get('outcomes', x[-1])}",
        )
    if len(x) > 1 and x[-1] > 300:
        axes.set_xscale("log")
    span = [value for point in points if point[0] >= min(30, x[-1]) for value in point[2:]]
    axes.set_ylim(max(-1.0, min(*span, margin) - 0.05), min(1.0, max(*span, margin) + 0.05))
    if promotion.status == "rolled_back":
        axes.text(
            0.01,
            0.02,
            f"rolled back: {evidence.get('rollback', {}).get('reason', '')}"[:120],
            transform=axes.transAxes,
            fontsize=8,
        )
    axes.legend(fontsize=8, loc="upper right", frameon=False)
