"""`GET /metrics`: what all processes have counted, and what the database holds now, as Prometheus reads it."""

import asyncio
import gzip
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator

from fastapi import APIRouter, Request, Response

from seedcore.api.gateway import Gateway
from seedcore.fleet.agent_reads import count_by_status
from seedcore.graph import outbox
from seedcore.stores import metric_series
from seedcore.stores.leading import leadership
from seedcore.stores.metric_series import MetricSeries
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.stores.store_probes import StoreProbes
from seedcore.tasks.monitoring.depth_gauges import GaugeSamples, read_depths
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics.catalogue import BY_NAME, CATALOGUE, MetricSpec
from seedcore.telemetry.metrics.exposition import CONTENT_TYPE, Sample, exposed
from seedcore.telemetry.metrics.label_bounds import LabelBounds, SeriesKey

CACHED_S = 1.0

router = APIRouter(tags=["metrics"])


class MetricsPage:
    """The page, read at most once a second however many scrapers there are."""

    def __init__(self, gateway: Gateway) -> None:
        settings = gateway.database.settings
        self._max_types = settings.metrics_max_types
        # Its plans are made once, and use indexes whatever statistics say.
        self._database: Database = gateway.feed.lookups
        self.stores = StoreProbes(settings, gateway.database)
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._page = b""
        self._packed: bytes | None = None
        self._log = get_logger("seedcore.metrics")

    async def read(self, *, packed: bool) -> bytes:
        """The page, gzip when `packed`; while PostgreSQL does not answer, it says which stores do."""
        async with self._lock:
            if time.monotonic() - self._read_at >= CACHED_S:
                self._page, self._packed = exposed(await self._metrics()).encode(), None
                self._read_at = time.monotonic()
            if not packed:
                return self._page
            if self._packed is None:
                self._packed = await asyncio.to_thread(gzip.compress, self._page, 1)
            return self._packed

    async def _metrics(self) -> list[tuple[MetricSpec, list[Sample]]]:
        series: list[MetricSeries] = []
        gauges: GaugeSamples = {}
        up = await self.stores.read()
        try:
            async with self._database.connection(wait_s=2.0) as connection:
                series = await metric_series.read(connection, self._max_types)
                gauges = await read_depths(connection)
                led = await leadership.led_roles(connection)
                gauges["seedcore_role_led"] = {(role,): float(leads) for role, leads in led.items()}
                gauges["seedcore_agents"] = await count_by_status(connection)
                graph = await outbox.read_state(connection)
                gauges["seedcore_graph_pending_changes"] = {(): float(graph.pending)}
                if graph.started_at is not None or self._database.settings.neo4j_uri is not None:
                    gauges["seedcore_graph_lag_seconds"] = {(): graph.lag_s}
        except DATABASE_ERRORS as error:
            self._log.warning("metrics not read", reason=f"{type(error).__name__}: {error}")
            up = {**up, "postgres": False}
        gauges["seedcore_store_up"] = {(store,): float(answers) for store, answers in up.items()}
        samples: defaultdict[str, list[Sample]] = defaultdict(list)
        for one in series:
            samples[one.spec.name].append((one.key, one.value, one.buckets))
        for name, values in gauges.items():
            samples[name] = [(key, value, None) for key, value in self._bounded(BY_NAME[name], values)]
        return [(spec, samples[spec.name]) for spec in CATALOGUE if spec.name in samples]

    def _bounded(self, spec: MetricSpec, values: dict[SeriesKey, float]) -> Iterable[tuple[SeriesKey, float]]:
        """The largest keep their names, when there are more than a label may have."""
        bounds, found = LabelBounds(self._max_types), defaultdict[SeriesKey, float](float)
        for key, value in sorted(values.items(), key=lambda item: (-item[1], item[0])):
            found[bounds.fold(spec, key)] += value
        return sorted(found.items())


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def get_metrics(request: Request) -> Response:
    """Every metric, in Prometheus' text format; the same from every replica. Read once a second at most."""
    page: MetricsPage = request.app.state.metrics
    packed = "gzip" in _accepted(request.headers.get("accept-encoding", ""))
    headers = {"Vary": "Accept-Encoding", "Cache-Control": "no-store"}
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(await page.read(packed=packed), media_type=CONTENT_TYPE, headers=headers)


def _accepted(header: str) -> Iterator[str]:
    """The encodings that a client takes: `gzip;q=0` is none of them."""
    for part in header.lower().split(","):
        name, _, options = part.partition(";")
        if options.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            yield name.strip()
