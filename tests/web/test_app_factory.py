"""What an application brings along."""

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from seedcore.settings import Settings
from seedcore.web.app_factory import create_app


async def test_the_framework_makes_no_spans_of_its_own(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    with trace.get_tracer("test").start_as_current_span("recorded"):
        pass

    async def health() -> dict[str, object]:
        return {"ready": True}

    app = create_app("gateway", settings, health)

    @app.get("/health/deep")
    async def deep() -> int:
        return 1

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        assert (await http.get("/health")).status_code == 200
        assert (await http.get("/health/deep")).text == "1"
    assert [span.name for span in exporter.get_finished_spans()] == ["recorded"]
