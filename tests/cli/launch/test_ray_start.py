"""Ray gets the time that a start may take, and its agents the ports that its raylet need not wait for."""

import socket
from pathlib import Path

import pytest

from seedcore.cli.launch import free_ports
from seedcore.cli.launch.ray_processes import fatal_error
from seedcore.cli.launch.ray_start import AGENT_PORTS, agent_ports, bounds, leave_out_unused, name_agent_ports, pauses
from seedcore.settings import load_settings


def test_each_part_of_ray_may_take_a_fifth_of_the_start() -> None:
    chosen = bounds(load_settings(bootstrap_timeout_s=300), {})
    assert chosen["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] == "60"
    assert chosen["RAY_raylet_start_wait_time_s"] == "60"
    assert chosen["RAY_agent_register_timeout_ms"] == "60000"


def test_a_bound_that_the_user_has_set_holds() -> None:
    mine = {"RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "7"}
    assert bounds(load_settings(), mine)["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] == "7"


def test_idle_loops_pause_longer_unless_the_user_or_the_dashboard_wants_otherwise() -> None:
    mine = {"RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "100"}
    chosen = pauses(load_settings(), mine)
    assert chosen["RAY_SERVE_METRICS_EXPORT_INTERVAL_MS"] == "100"
    assert chosen["RAY_event_stats"] == "0"
    assert chosen["REPORTER_UPDATE_INTERVAL_MS"] == "15000"
    assert "REPORTER_UPDATE_INTERVAL_MS" not in pauses(load_settings(ray_dashboard=True), {})


def test_every_pause_is_one_that_ray_reads() -> None:
    import ray

    package = Path(ray.__file__).parent
    core = (package / "core/src/ray/raylet/raylet").read_bytes()
    sources = "".join(
        (package / name).read_text()
        for name in (
            "serve/_private/constants.py",
            "_private/log_monitor.py",
            "dashboard/modules/reporter/reporter_consts.py",
        )
    )
    for name in pauses(load_settings(), {}):
        assert name in sources or name.removeprefix("RAY_").encode() in core, name


def test_without_the_dashboard_its_server_and_the_autoscaler_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the Ray that is installed: these are names of its insides."""
    import ray
    from ray._private import node, parameter, services

    monkeypatch.setattr(services, "start_api_server", services.start_api_server)
    monkeypatch.setattr(parameter, "RayParams", parameter.RayParams)
    leave_out_unused(ray)
    assert parameter.RayParams().no_monitor is True
    assert services.start_api_server(False, False, port=1) == ("", None)
    begins = Path(node.__file__).read_text()
    assert "ray._private.services.start_api_server(" in begins
    assert "if not self._ray_params.no_monitor:" in begins


@pytest.mark.integration
def test_two_instances_give_their_agents_other_ports(tmp_path: Path) -> None:
    one = agent_ports(load_settings(data_dir=tmp_path / "one"))
    assert len(set(one.values())) == len(AGENT_PORTS)
    with socket.create_server(("127.0.0.1", one["metrics_agent_port"])):
        again = agent_ports(load_settings(data_dir=tmp_path / "one"))
    assert not set(one.values()) & set(again.values())


def test_ray_and_its_raylet_are_shown_the_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the Ray that is installed: these are names of its insides."""
    import ray
    from ray._private import node, parameter, services

    begun: list[list[str]] = []
    monkeypatch.setattr(free_ports, "is_free", lambda _port: True)
    monkeypatch.setattr(services, "start_ray_process", lambda command, *_rest, **_more: begun.append(command))
    monkeypatch.setattr(parameter, "RayParams", parameter.RayParams)
    monkeypatch.setattr(
        ray, "init", lambda **given: parameter.RayParams(metrics_export_port=given["_metrics_export_port"])
    )
    ports = agent_ports(load_settings(data_dir=tmp_path))
    name_agent_ports(ray, ports)
    params = ray.init()
    assert {name: getattr(params, name) for name in AGENT_PORTS} == ports
    for kind in (node.ray_constants.PROCESS_TYPE_RAYLET, node.ray_constants.PROCESS_TYPE_GCS_SERVER):
        services.start_ray_process(["program"], kind)
    assert begun == [["program", f"--dashboard_agent_listen_port={ports['dashboard_agent_listen_port']}"], ["program"]]
    raylet = (Path(ray.__file__).parent / "core/src/ray/raylet/raylet").read_bytes()
    assert b"dashboard_agent_listen_port" in raylet


def test_why_a_raylet_ended_is_read_from_its_log(tmp_path: Path) -> None:
    logs = tmp_path / "ray" / "session_latest" / "logs"
    logs.mkdir(parents=True)
    (logs / "raylet.out").write_text(
        "[2026-11-29 18:50:13,019 E 32238 32238] (raylet) worker_pool.cc:12: a first error\n"
        "[2026-11-29 18:50:14,019 C 32238 32238] (raylet) node_manager.cc:3340:  An unexpected system state has "
        "occurred. Timed out waiting for file /x/metrics_agent_port_1.\n"
        "*** StackTrace Information ***\n"
    )
    said = fatal_error(tmp_path, "raylet")
    assert said is not None
    assert said.endswith("Timed out waiting for file /x/metrics_agent_port_1")


def test_a_process_of_ray_that_was_ended_has_no_last_words(tmp_path: Path) -> None:
    logs = tmp_path / "ray" / "session_latest" / "logs"
    logs.mkdir(parents=True)
    (logs / "raylet.out").write_text("[2026-11-29 18:50:13,019 I 3 3] (raylet) main.cc:12: Raylet shut down.\n")
    assert fatal_error(tmp_path, "raylet") is None
    assert fatal_error(tmp_path, "gcs_server") is None
