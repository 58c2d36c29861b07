"""The export: to every sink, whichever of them fails."""

import asyncio

from seedcore.settings import Settings
from seedcore.telemetry.metrics.metric_export import MetricExport, RunningExport
from seedcore.telemetry.metrics.metric_registry import MetricDeltas, MetricRegistry

DECISIONS = "seedcore_decisions_total"


class ListSink:
    """Keeps what it gets; refuses the first `failures` writes."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.counts, self.written = failures, MetricDeltas(), asyncio.Event()
        self.ended = False

    async def write(self, deltas: MetricDeltas, *, last: bool = False) -> None:
        self.counts.add(deltas)
        self.ended = self.ended or last
        if self.failures:
            self.failures -= 1
            raise RuntimeError("away")
        if deltas:
            self.written.set()


async def test_a_sink_that_fails_holds_up_no_other(settings: Settings) -> None:
    process, bad, good = MetricRegistry(), ListSink(failures=1), ListSink()
    export = MetricExport(settings, [bad, good], registry=process)
    for _ in range(2):
        process.counters[DECISIONS].add(1, route="fast")
        await export.export()
    assert bad.counts.counts == good.counts.counts == {DECISIONS: {("fast",): 2}}


async def test_samplers_set_gauges_before_each_export(settings: Settings) -> None:
    process, sink = MetricRegistry(), ListSink()
    evidence = process.gauges["seedcore_valve_evidence"]
    await MetricExport(settings, [sink], [lambda: evidence.set(0.5, stream="x")], process).export()
    assert sink.counts.values == {"seedcore_valve_evidence": {("x",): 0.5}}


async def test_it_runs_by_itself_and_its_end_loses_nothing(settings: Settings) -> None:
    process, sink = MetricRegistry(), ListSink()
    running = RunningExport(MetricExport(settings, [sink], registry=process))
    process.counters[DECISIONS].add(1, route="fast")
    await asyncio.wait_for(sink.written.wait(), 30)
    process.counters[DECISIONS].add(1, route="fast")
    await running.aclose()
    assert sink.counts.counts == {DECISIONS: {("fast",): 2}}
    assert sink.ended


async def test_without_metrics_nothing_runs(settings: Settings) -> None:
    process, sink = MetricRegistry(), ListSink()
    export = MetricExport(settings.model_copy(update={"metrics": False}), [sink], registry=process)
    process.counters[DECISIONS].add(1, route="fast")
    await asyncio.wait_for(export.run(), 5)
    await export.export(last=True)
    assert not sink.counts
