"""What is counted in a process of Ray shows on Ray's metrics port."""

import subprocess
import sys
import time
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from seedcore.telemetry.metrics.metric_registry import MetricRegistry
from seedcore.utils.metrics.ray_metrics import RayMetrics, ray_sinks
from tests.support.ray_head import HOST, ray_head

WAIT = "seedcore_task_wait_seconds"

ACTOR = """
import ray

ray.init(ADDRESS, namespace="t")

@ray.remote
class Counting:
    async def count(self):
        from seedcore.settings import load_settings
        from seedcore.telemetry.metrics import counter, gauge, histogram
        from seedcore.telemetry.metrics.metric_export import MetricExport
        from seedcore.utils.metrics.ray_metrics import ray_sinks

        self.export = MetricExport(load_settings(), ray_sinks())
        for _ in range(2):
            counter("seedcore_dead_total").add(2, queue="default", type="echo", code="boom")
            gauge("seedcore_snapshot_age_seconds").set(5.0, worker="w")
            waits = histogram("seedcore_task_wait_seconds")
            waits.observe_all({("default", "echo"): [0.001, 0.2, 9999.0]})
            await self.export.export(last=True)

counting = Counting.options(num_cpus=0).remote()
ray.get(counting.count.remote())
print("counted", flush=True)
input()
"""


def scraped(port: int) -> dict[str, dict[tuple[str, ...], float]]:
    """Samples of SeedCore by name, by the values of the catalogue's labels and `le`."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("ray_seedcore_"):
                own = ("queue", "type", "code", "worker", "le")
                key = tuple(sample.labels[name] for name in own if name in sample.labels)
                found.setdefault(sample.name, {})[key] = sample.value
    return found


@pytest.mark.integration
def test_a_scrape_of_ray_shows_what_an_actor_counted() -> None:
    with ray_head(env={"RAY_metrics_report_interval_ms": "1000"}) as head:
        script = ACTOR.replace("ADDRESS", repr(head.address))
        driver = subprocess.Popen(
            [sys.executable, "-c", script],
            env=head.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert driver.stdout is not None
            assert driver.stdout.readline().strip() == "counted"
            deadline, found = time.monotonic() + 60, dict[str, dict[tuple[str, ...], float]]()
            while time.monotonic() < deadline and "ray_seedcore_snapshot_age_seconds" not in found:
                found = scraped(head.metrics_port)
        finally:
            driver.kill()
            driver.wait()
    assert found["ray_seedcore_dead_total"] == {("default", "echo", "boom"): 4}
    assert found["ray_seedcore_snapshot_age_seconds"] == {("w",): 5}
    buckets = found[f"ray_{WAIT}_bucket_total"]
    assert buckets["default", "echo", "0.005"] == 2
    assert buckets["default", "echo", "0.5"] == 4
    assert buckets["default", "echo", "+Inf"] == 6
    assert found[f"ray_{WAIT}_count_total"] == {("default", "echo"): 6}
    assert found[f"ray_{WAIT}_sum_total"]["default", "echo"] == pytest.approx(2 * 9999.201)


def test_a_process_without_ray_exports_nothing_to_it() -> None:
    assert ray_sinks() == []


async def test_between_exports_to_ray_counts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[object] = []
    metrics, process = RayMetrics(), MetricRegistry()
    monkeypatch.setattr(metrics, "_write", written.append)
    for _ in range(3):
        process.counters["seedcore_decisions_total"].add(1, route="fast")
        await metrics.write(process.take())
    await metrics.write(process.take(), last=True)
    assert [deltas.counts for deltas in written] == [
        {"seedcore_decisions_total": {("fast",): 1}},
        {"seedcore_decisions_total": {("fast",): 2}},
    ]
