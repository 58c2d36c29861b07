"""Mean response against load, as SVG."""

from pathlib import Path

from benchmarks.routing.parts import LOADS, Table


def plot(tables: list[Table], folder: Path) -> list[Path]:
    """Write a plot for each table of means by load; returns the files. Needs matplotlib (`pip install .[bench]`)."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "seedcore"
    from matplotlib import pyplot

    made = []
    for table in tables:
        if not table.name.endswith("agents, mean"):
            continue
        figure, axes = pyplot.subplots(figsize=(6, 3.6))
        for router, values in table.rows.items():
            style = {"energy": "k-o", "oracle": "k:"}.get(router, "-.")
            axes.plot(LOADS, values, style, label=router.replace("_", " "), linewidth=1.2, markersize=3)
        axes.set(yscale="log", xlabel="load, share of capacity", ylabel="mean response, s", title=table.name)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
        figure.tight_layout()
        path = folder / f"routing-{table.name.split()[0]}.svg"
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)
        made.append(path)
    return made
