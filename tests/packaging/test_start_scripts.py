"""The scripts that run inside the image, with ray, serve and python written down instead of run."""

import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.packaging.files import DOCKER, PORTS, ROOT
from tests.packaging.stand_ins import StandIns

START = DOCKER / "start-ray-with-serve.sh"
HEAD = ("GRPC_ENABLE_FORK_SUPPORT", "SEEDCORE_ROLE", "RAY_AUTH_MODE", "RAY_SERVE_ENABLE_HA_PROXY", "RAY_ADDRESS")
HEAD += ("RAY_SERVE_THROUGHPUT_OPTIMIZED", "RAY_PORT", "RAY_HOST")
UP, DOWN = '{"ready":true,"organism_initialized":true}', '{"ready":false,"organism_initialized":false}'
REAL_SLEEP = shutil.which("sleep")


def test_the_head_starts_on_the_seeds_ports_and_then_serves(stand_ins: StandIns):
    stand_ins.show = HEAD
    stand_ins.add("ray", answer="sleep 1")
    stand_ins.add("serve")
    inherited = {"RAY_ADDRESS": "ray://ray-head:10001", "RAY_PORT": "10001", "RAY_HOST": "ray-head"}
    done = stand_ins.run(START, RAY_AUTH_TOKEN="t", RAY_HEAD_CPUS="2", **inherited)
    assert done.returncode == 0, done.stderr
    shown = [f"  {name}=1" for name in ("RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_THROUGHPUT_OPTIMIZED")]
    calls = stand_ins.calls()
    ray = next(call for call in calls if call.startswith("ray "))
    assert ray == (
        f"ray start --head --block --disable-usage-stats --port={PORTS['gcs']} "
        f"--ray-client-server-port={PORTS['client']} --dashboard-host=0.0.0.0 --dashboard-port={PORTS['dashboard']} "
        f"--metrics-export-port={PORTS['compose_metrics']} --dashboard-agent-listen-port={PORTS['agent']} "
        '--resources={"head_node": 1} --num-cpus=2'
    )
    below = {call for call in calls if call.startswith("  ")}
    assert below == {"  GRPC_ENABLE_FORK_SUPPORT=0", "  SEEDCORE_ROLE=head", "  RAY_AUTH_MODE=token", *shown}
    assert f"serve deploy --address http://127.0.0.1:{PORTS['dashboard']} {ROOT}/serve_config/prod.yaml" in calls


def test_ports_can_be_pinned_and_the_plain_proxy_chosen(stand_ins: StandIns):
    stand_ins.show = HEAD
    stand_ins.add("ray", answer="sleep 1")
    stand_ins.add("serve")
    pinned = {"RAY_OBJECT_MANAGER_PORT": "8076", "RAY_NODE_MANAGER_PORT": "8077", "RAY_NODE_IP": "10.0.0.1"}
    stand_ins.run(START, RAY_AUTH_MODE="disabled", SEEDCORE_HTTP_MODE="proxy", **pinned)
    calls = stand_ins.calls()
    ray = next(call for call in calls if call.startswith("ray "))
    assert ray.endswith("--node-ip-address=10.0.0.1 --object-manager-port=8076 --node-manager-port=8077")
    assert not any("HA_PROXY" in call for call in calls)


def test_the_head_refuses_to_start_without_a_token(stand_ins: StandIns):
    stand_ins.add("ray", "serve")
    done = stand_ins.run(START)
    assert done.returncode == 2
    assert "RAY_AUTH_TOKEN" in done.stderr
    assert stand_ins.calls() == []


def test_a_ray_that_dies_ends_the_container(stand_ins: StandIns):
    stand_ins.add("ray", answer="exit 3")
    stand_ins.add("serve", answer="exit 1")
    done = stand_ins.run(START, RAY_AUTH_MODE="disabled")
    assert done.returncode == 1
    assert "Ray has ended with status 3" in done.stderr


def test_applications_that_are_not_taken_in_time_end_it_with_the_reason(stand_ins: StandIns):
    stand_ins.add("ray", answer="exec sleep 60")
    stand_ins.add("serve", answer="echo no such import >&2; exit 1")
    done = stand_ins.run(START, RAY_AUTH_MODE="disabled", SEEDCORE_BOOTSTRAP_TIMEOUT_S="1")
    assert done.returncode == 1
    assert "no such import" in done.stderr


def test_stopping_the_container_stops_ray(stand_ins: StandIns, tmp_path: Path):
    stopped, up = tmp_path / "stopped", tmp_path / "up"
    stand_ins.add("ray", answer=f"trap 'touch {stopped}; exit 0' TERM; touch {up}; while true; do sleep 0.05; done")
    stand_ins.add("serve", answer=f"[ -e {up} ]")
    environment = {
        "PATH": f"{stand_ins.folder / 'bin'}:/usr/bin:/bin",
        "RAY_AUTH_MODE": "disabled",
        "STAND_IN_CALLS": str(stand_ins.folder / "calls"),
        "STAND_IN_ANSWERS": str(stand_ins.folder / "answers"),
        "STAND_IN_SHOW": "",
    }
    process = subprocess.Popen([str(START)], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "are being deployed" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert stopped.exists()


def test_serve_deploy_tries_until_the_head_takes_it(stand_ins: StandIns, tmp_path: Path):
    stand_ins.add("serve", answer=f"[ -e {tmp_path}/up ] || {{ touch {tmp_path}/up; exit 1; }}")
    stand_ins.add("sleep")
    variables = {"RAY_DASHBOARD_ADDRESS": "http://head:8265", "SERVE_DEPLOY_ONCE": "1", "SERVE_CONFIG": "prod.yaml"}
    assert stand_ins.run(DOCKER / "serve-deploy.sh", **variables).returncode == 0
    one = "serve deploy --address http://head:8265 prod.yaml"
    assert stand_ins.calls() == [one, "sleep 5", one]


@pytest.mark.parametrize("status", [0, 1, 2])
def test_bootstrap_once_ends_with_its_status(stand_ins: StandIns, status: int):
    stand_ins.add("python", answer=f"exit {status}")
    assert stand_ins.run(DOCKER / "bootstrap.sh", EXIT_AFTER_BOOTSTRAP="true").returncode == status
    assert stand_ins.calls() == ["python -m bootstraps.bootstrap_entry"]


@pytest.fixture
def bootstrap(stand_ins: StandIns, tmp_path: Path) -> Callable[..., list[str]]:
    """Runs the script on runs with these exit statuses, the last of which ends it, and looks at health that answer so.

    Gives what it did, one word a step; a look that nothing is said of finds all well.
    """
    for kind in ("runs", "looks"):
        (tmp_path / kind).mkdir()

    def next_of(kind: str) -> str:
        folder = tmp_path / kind
        return f"n=$(ls {folder}/done.* 2> /dev/null | wc -l); touch {folder}/done.$n; {kind}={folder}/$n"

    stand_ins.add("python", answer=f'{next_of("runs")}; exit "$(cat $runs)"')
    stand_ins.add("wget", answer=f"{next_of('looks')}; [ ! -e $looks ] || {{ cat $looks; exit; }}; echo '{UP}'")
    stand_ins.add(
        "sleep", answer=f"[ ! -e {tmp_path}/done ] || echo healthy >> $STAND_IN_CALLS; exec {REAL_SLEEP} 0.05"
    )

    def run(statuses: list[int], looks: Sequence[str] = (), **variables: str) -> list[str]:
        for kind, values in (("runs", [*statuses, 2]), ("looks", looks)):
            for n, value in enumerate(values):
                (tmp_path / kind / str(n)).write_text(f"{value}\n")
        done = stand_ins.run(DOCKER / "bootstrap.sh", BOOTSTRAP_DONE_FILE=str(tmp_path / "done"), **variables)
        assert done.returncode == 2, done.stderr
        return [call.replace("python -m bootstraps.bootstrap_entry", "run") for call in stand_ins.calls()]

    return run


def looked(url: str = "http://127.0.0.1:8000") -> str:
    return f"wget --tries=1 -T 4 -q -O- --content-on-error {url}/organism/health"


def test_a_bootstrap_that_failed_is_tried_again_after_five_seconds(bootstrap: Callable[..., list[str]]):
    assert bootstrap([1, 1]) == ["run", "sleep 5", "run", "sleep 5", "run"]


def test_a_bootstrap_begins_at_once_when_an_organism_that_was_up_is_gone(bootstrap: Callable[..., list[str]]):
    steps = bootstrap([0], [UP, UP, DOWN], RAY_SERVE_URL="http://ray-head:8000/")
    look = looked("http://ray-head:8000")
    assert steps == ["run", look, "sleep 2", "healthy", look, "sleep 2", "healthy", look, "run"]


@pytest.mark.parametrize("gone", ["", DOWN, '{"organism_initialized": null, "starting": true}'])
def test_no_answer_and_a_new_head_s_answer_mean_that_it_is_gone(bootstrap: Callable[..., list[str]], gone: str):
    assert bootstrap([0], [UP, gone]).count("run") == 2


def test_between_two_successes_are_no_more_than_the_seconds_of_the_setting(bootstrap: Callable[..., list[str]]):
    """Where no organism ever is, as with BOOTSTRAP_MODE=dispatchers, it is not run again and again."""
    steps = bootstrap([0], [DOWN] * 1000, BOOTSTRAP_EVERY_S="2")
    assert steps.count("run") == 2
    assert steps[:3] == ["run", looked(), "sleep 2"]


def test_a_bootstrap_that_fails_after_a_success_is_no_longer_healthy(bootstrap: Callable[..., list[str]]):
    assert bootstrap([0, 1], BOOTSTRAP_EVERY_S="0") == ["run", "run", "sleep 5", "run"]
