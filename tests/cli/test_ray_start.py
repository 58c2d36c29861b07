"""Ray gets the time that a start may take, and its agents the ports that its raylet need not wait for."""

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from seedcore.cli.ray_start import AGENT_PORTS, agent_ports, bounds, with_agent_ports
from seedcore.cli.watch import last_words
from seedcore.settings import load_settings


def test_each_part_of_ray_may_take_a_fifth_of_the_start() -> None:
    chosen = bounds(load_settings(bootstrap_timeout_s=300), {})
    assert chosen["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] == "60"
    assert chosen["RAY_raylet_start_wait_time_s"] == "60"
    assert chosen["RAY_agent_register_timeout_ms"] == "60000"


def test_a_bound_that_the_user_has_set_holds() -> None:
    mine = {"RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "7"}
    assert bounds(load_settings(), mine)["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] == "7"


def test_two_instances_give_their_agents_other_ports(tmp_path: Path) -> None:
    one = agent_ports(load_settings(data_dir=tmp_path / "one"))
    assert len(set(one.values())) == len(AGENT_PORTS)
    with socket.create_server(("127.0.0.1", one["metrics_agent_port"])):
        again = agent_ports(load_settings(data_dir=tmp_path / "one"))
    assert not set(one.values()) & set(again.values())


def test_ray_takes_the_ports(tmp_path: Path) -> None:
    """Against the Ray that is installed: these are names of its insides."""
    from ray._private import parameter

    def init(**given: Any) -> Any:
        return module.RayParams(metrics_export_port=given["_metrics_export_port"])

    module = SimpleNamespace(RayParams=parameter.RayParams)
    ports = agent_ports(load_settings(data_dir=tmp_path))
    params = with_agent_ports(module, init, ports)()
    assert {name: getattr(params, name) for name in AGENT_PORTS} == ports


def test_why_a_raylet_ended_is_read_from_its_log(tmp_path: Path) -> None:
    logs = tmp_path / "ray" / "session_latest" / "logs"
    logs.mkdir(parents=True)
    (logs / "raylet.out").write_text(
        "[2026-11-29 18:50:13,019 E 32238 32238] (raylet) worker_pool.cc:12: a first error\n"
        "[2026-11-29 18:50:14,019 C 32238 32238] (raylet) node_manager.cc:3340:  An unexpected system state has "
        "occurred. Timed out waiting for file /x/metrics_agent_port_1.\n"
        "*** StackTrace Information ***\n"
    )
    assert last_words(tmp_path, "raylet").endswith("Timed out waiting for file /x/metrics_agent_port_1")
    assert "no log" in last_words(tmp_path, "gcs_server")
