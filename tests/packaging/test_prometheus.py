"""A real Prometheus scrapes a gateway: the series of the catalogue are there, and the rules are evaluated."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import yaml

from seedcore.settings import Settings
from seedcore.telemetry.metrics.catalogue import BY_NAME
from tests.packaging.files import DEPLOY
from tests.support.ray_head import free_ports

pytestmark = pytest.mark.integration
KEY = "key-of-prometheus"
DEADLINE_S = 50
# As processes write them, at their last export.
COUNTED = """
insert into seedcore.metric_series (name, labels, value, buckets) values
  ('seedcore_attempts_total', '{"queue": "default", "type": "echo", "outcome": "completed"}', 41, null),
  ('seedcore_fallbacks_total', '{"fallback": "http"}', 3, null),
  ('seedcore_claim_seconds', '{"queue": "default"}', 0.5, '{1,2,3,4,0,0,0,0,0,0,0}');
select seedcore.enqueue('echo', jsonb_build_object('value', n), '{"queue": "unattended"}') from generate_series(1, 7) n;
"""


@pytest.fixture
def gateway(pg_settings: Settings, tmp_path: Path) -> Iterator[int]:
    assert pg_settings.pg_dsn is not None
    dsn = pg_settings.pg_dsn.get_secret_value()

    async def fill() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute(COUNTED)
        await connection.close()

    asyncio.run(fill())
    (port,) = free_ports(1)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "SEEDCORE_DATA_DIR": str(pg_settings.data_dir),
        "SEEDCORE_PG_DSN": dsn,
        "SEEDCORE_API_PORT": str(port),
        "SEEDCORE_API_KEYS": KEY,
    }
    with (tmp_path / "gateway.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "seedcore.api"], env=environment, stderr=log)
    try:
        until(lambda: httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200)
        yield port
    finally:
        process.kill()
        process.wait(20)


def until(found: Callable[[], Any]) -> Any:
    """What `found` returns, once it is something."""
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            if answer := found():
                return answer
        except httpx.TransportError:
            pass
        assert time.monotonic() < end, "not in time"
        time.sleep(0.1)


@pytest.fixture
def prometheus(gateway: int, tmp_path: Path, require_service: Callable[[bool, str], None]) -> Iterator[str]:
    """Base URL of one with the configuration that is shipped; addresses, paths and intervals are the test's."""
    binary = shutil.which("prometheus")
    require_service(binary is not None, "prometheus (Debian's package)")
    config = yaml.safe_load((DEPLOY / "observability" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(tmp_path / "rules.yml")]
    rules = yaml.safe_load((DEPLOY / "observability" / "rules" / "seedcore.yml").read_text())
    rules["groups"][0]["interval"] = "1s"
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    job = config["scrape_configs"][0]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{gateway}"]}]
    job["authorization"]["credentials_file"] = str(tmp_path / "metrics-key")
    (tmp_path / "metrics-key").write_text(KEY)
    config["scrape_configs"] = [job]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    (port,) = free_ports(1)
    command = [str(binary), f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb"]
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: process.poll() is None and httpx.get(f"{url}/-/ready").status_code == 200)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def query(url: str, expression: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{url}/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", answer
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def test_it_finds_the_series_and_evaluates_the_rules(prometheus: str):
    target = until(
        lambda: [
            t
            for t in httpx.get(f"{prometheus}/api/v1/targets").json()["data"]["activeTargets"]
            if t["health"] != "unknown"
        ]
    )
    assert [(t["health"], t["lastError"]) for t in target] == [("up", "")]
    (attempts,) = until(lambda: query(prometheus, 'seedcore_attempts_total{outcome="completed"}'))
    assert attempts["value"][1] == "41"
    (depth,) = query(prometheus, 'sum by (queue) (seedcore_queue_depth{queue="unattended"})')
    assert depth["value"][1] == "7"
    (bucket,) = query(prometheus, 'seedcore_claim_seconds_bucket{le="+Inf"}')
    assert bucket["value"][1] == "10"
    names = httpx.get(f"{prometheus}/api/v1/label/__name__/values").json()["data"]
    ours = {name.removesuffix("_bucket").removesuffix("_sum") for name in names if name.startswith("seedcore_")}
    assert {name.removesuffix("_count") if name not in BY_NAME else name for name in ours} <= set(BY_NAME)


def test_every_rule_and_every_panel_can_be_evaluated_and_the_alert_for_a_queue_without_workers_is_pending(
    prometheus: str,
):
    until(lambda: query(prometheus, "seedcore_tasks_running"))

    def rules() -> dict[str, Any] | None:
        found = httpx.get(f"{prometheus}/api/v1/rules").json()["data"]["groups"][0]["rules"]
        named = {rule["name"]: rule for rule in found}
        evaluated = all(rule["health"] != "unknown" for rule in found)
        return named if evaluated and named["SeedCoreNoDispatcher"]["state"] != "inactive" else None

    named = until(rules)
    assert {name: rule["lastError"] for name, rule in named.items() if rule.get("lastError")} == {}
    (pending,) = named["SeedCoreNoDispatcher"]["alerts"]
    assert (pending["labels"]["queue"], pending["state"]) == ("unattended", "pending")
    for board in sorted((DEPLOY / "observability" / "dashboards").glob("*.json")):
        for panel in json.loads(board.read_text())["panels"]:
            for part in panel["targets"]:
                query(prometheus, part["expr"].replace("$__rate_interval", "1m"))
