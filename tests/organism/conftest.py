"""The Organism service on hosts in memory and a real database.

Logs are as in a host: without that, structlog draws every traceback of a skill with the values of all its variables.
"""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from seedcore.organism import organism_commands as commands_module
from seedcore.organism.control import liveness as liveness_module
from seedcore.organism.control import reconcile_loop as reconcile_loop_module
from seedcore.organism.control import reconciler as reconciler_module
from seedcore.organism.service import OrganismService
from seedcore.settings import Settings, load_settings
from seedcore.telemetry.logs import configure_logs

from .fake_hosts import Pool
from .support import ORGANS, Start, client


@pytest.fixture(autouse=True)
def _logs_of_a_host(_clean_environment: None) -> None:
    configure_logs(load_settings(), stream=io.StringIO())


@pytest.fixture
def organs_file(tmp_path: Path) -> Path:
    path = tmp_path / "organs.yaml"
    path.write_text(ORGANS)
    return path


@pytest.fixture
def configured(pg_settings: Settings, organs_file: Path) -> Settings:
    """Settings that ask for no workers."""
    assert pg_settings.pg_dsn is not None
    dsn = pg_settings.pg_dsn.get_secret_value()
    return load_settings(
        data_dir=pg_settings.data_dir, pg_dsn=dsn, organs_path=organs_file, dispatchers=0, graph_dispatchers=0
    )


@pytest.fixture
def pool(configured: Settings) -> Pool:
    return Pool(configured)


@pytest.fixture
async def start(configured: Settings, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Start a replica; Ray is neither there nor needed."""
    monkeypatch.setattr(reconcile_loop_module, "INTERVAL_S", 0.05)
    monkeypatch.setattr(liveness_module, "PING_TIMEOUT_S", 0.05)
    monkeypatch.setattr(reconciler_module, "SETTLE_S", 0.1)
    monkeypatch.setattr(commands_module, "EFFECT_TIMEOUT_S", 3.0)
    monkeypatch.setattr(OrganismService, "_record_ray_address", lambda _self: None)
    started: list[OrganismService] = []

    async def run(settings: Settings = configured, version: str = "1") -> OrganismService:
        service = OrganismService({"version": version}, settings, provisioner=lambda _settings: pool)
        await service.start()
        started.append(service)
        return service

    yield run
    for service in started:
        await service.stop()


@pytest.fixture
async def service(start: Start) -> OrganismService:
    return await start()


@pytest.fixture
def http(service: OrganismService) -> httpx.AsyncClient:
    return client(service)


@pytest.fixture
async def up(http: httpx.AsyncClient) -> httpx.AsyncClient:
    assert (await http.post("/initialize")).status_code == 200
    return http
