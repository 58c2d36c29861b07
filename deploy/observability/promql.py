"""Expressions over SeedCore's metrics.

Every replica of the gateway answers /metrics from the same tables, so series of several replicas are the same one: the
expressions take `max by` a metric's own labels before they add. A counter that was never counted has no series, so its
first count is no increase for Prometheus: `grown` counts it.
"""

from seedcore.telemetry.metrics.catalogue import BY_NAME

JOBS = '{type=~"ml[.](learn-salience|retrain|train|tune)"}'
"""Selects tasks that are jobs of models."""


def one(name: str, *, le: bool = False) -> str:
    """Labels by which series of several replicas become one."""
    base = name.removeprefix("ray_")
    for ending in ("_bucket", "_sum", "_count"):
        base = base if base in BY_NAME else base.removesuffix(ending)
    return f"max by ({', '.join((*BY_NAME[base].labels, *(('le',) if le else ())))})"


def gauge(name: str, by: str = "", how: str = "sum") -> str:
    """A gauge, by these labels."""
    return f"{how} by ({by}) ({one(name)} ({name}))"


def rate(name: str, by: str = "", where: str = "", over: str = "$__rate_interval") -> str:
    """Counts a second, by these labels."""
    return f"sum by ({by}) ({one(name)} (rate({name}{where}[{over}])))"


def quantile(q: float, name: str, by: str = "", over: str = "$__rate_interval") -> str:
    """A quantile of a histogram, by these labels."""
    kept = ", ".join(filter(None, ("le", by)))
    bucket = f"{name}_bucket"
    return f"histogram_quantile({q:g}, sum by ({kept}) ({one(bucket, le=True)} (rate({bucket}[{over}]))))"


def grown(name: str, by: str, over: str, more_than: int, where: str = "") -> str:
    """A counter grew by more than so many, a series' first count included; not where nothing was scraped before."""
    now = f"sum by ({by}) ({one(name)} ({name}{where}))"
    before = f"sum by ({by}) ({one(name)} ({name}{where} offset {over}))"
    return f"({now} - ({before} or 0 * {now})) > {more_than} and on () max(seedcore_tasks_running offset {over}) >= 0"
