"""docs/operations/metrics.md, made from the catalogue of metrics, so that page and code cannot disagree."""

from collections.abc import Iterable

from seedcore.telemetry.metrics.catalogue import CATALOGUE, FALLBACKS, MetricSpec

INTRODUCTION = """\
# Metrics

This page is generated: `make docs` writes it again.

Every process counts in memory. Once a second it adds what is new to the table `seedcore.metric_series`, through the
pool that it has, and hands it to Ray. So there are two places to scrape:

| where | names | what it has |
|---|---|---|
| `GET /metrics` of the gateway | `seedcore_…` | what all processes have counted, and what the database holds |
| Ray's metrics port, on every node | `ray_seedcore_…` | what each process has counted, with Ray's labels |

The gateway asks for the scope `read`, and for a key of the platform. Every replica answers alike, so scrape one.
`ml` has no pool of its own: what it counts is on Ray's port alone.

- A histogram `X` has `X_bucket`, `X_sum` and `X_count` at the gateway. On Ray's port these are the counters
  `ray_X_bucket_total` (with the label `le`), `ray_X_sum_total` and `ray_X_count_total`, since Ray adds `_total` to what
  it counts; `histogram_quantile` takes them. Ray collects every ten seconds.
- Labels are bounded: each has `SEEDCORE_METRICS_MAX_TYPES` (64) values, the first that came, and the rest is counted as
  `other`. Of gauges of the database the largest keep their names.
- A series that nothing was added to for `SEEDCORE_METRICS_RETENTION_D` days is forgotten, and a gauge of a process
  that has ended after five minutes.
- `/metrics` is read at most once a second, however many scrape it. It never counts history. Depths are counted up to
  10,000 tasks of a priority, tenant and queue and 30,000 in all, and estimated beyond. While PostgreSQL does not
  answer, the page has `seedcore_store_up` alone.
- A process that is killed loses at most the last second. A write whose answer is lost may be counted twice. Where the
  clocks of nodes and database differ, waits differ by as much.
- `seedcore_task_wait_seconds` has first attempts of tasks that waited for no earlier step and no approval: of others
  the database does not say when they were due.
- `seedcore_task_total_seconds` has tasks that a worker ends: not those that are cancelled, and not goals, which their
  last step ends.
- Depth and age of a queue that a worker serves are 0 while nothing waits; of another there is no series then.
- Ray's port is 8080 under Compose and 8081 on Kubernetes. With `seedcore run` it is another at each start: `pgrep -af
  raylet/raylet` shows it as `--metrics_export_port`.
- `seedcore_dead_total` has failures in workers, by a lost worker and by a deadline; `seedcore_dead_letters` has all.

`SEEDCORE_METRICS=false` counts nothing. `python -m benchmarks.telemetry` measures what metrics cost,
`python -m benchmarks.scrape` how long a scrape takes.
"""
FALL_BACKS = """
## Fall-backs

What the label `fallback` of `seedcore_fallbacks_total` says.

| fallback | what happened |
|---|---|
"""


def metrics_page() -> str:
    """The whole page, as Markdown."""
    counted = [spec for spec in CATALOGUE if spec.source == "process"]
    stored = [spec for spec in CATALOGUE if spec.source == "database"]
    parts = [
        INTRODUCTION,
        "\n## Counted by processes\n\n",
        _table(counted),
        "\n## Read from the database\n\n",
        _table(stored),
    ]
    rows = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in FALLBACKS.items())
    return "".join([*parts, _bounds(counted), FALL_BACKS, rows])


def _table(specs: Iterable[MetricSpec]) -> str:
    rows = "".join(
        f"| `{spec.name}` | {spec.kind} | {', '.join(spec.labels)} | {spec.unit} | {spec.help} |\n" for spec in specs
    )
    return f"| metric | kind | labels | unit | meaning |\n|---|---|---|---|---|\n{rows}"


def _bounds(specs: Iterable[MetricSpec]) -> str:
    rows = "".join(f"| `{s.name}` | {', '.join(f'{bound:g}' for bound in s.bounds)} |\n" for s in specs if s.bounds)
    return f"\n## Buckets\n\n| histogram | upper bounds, in seconds |\n|---|---|\n{rows}"
