"""docker/sc-cmd.sh with a docker that writes down how it was called."""

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.packaging.files import DOCKER, PORTS, env_file
from tests.packaging.stand_ins import StandIns


@pytest.fixture
def docker(tmp_path: Path, stand_ins: StandIns) -> StandIns:
    """A copy of docker/, so that .env is the test's own; three workers run."""
    shutil.copytree(DOCKER, tmp_path / "docker", ignore=shutil.ignore_patterns(".env"))
    stand_ins.add("docker", answer='case "$*" in *" ps -q ray-worker") printf "a\\nb\\nc\\n";; esac')
    stand_ins.add("ip", answer='echo "172.31.17.143 via 10.0.0.1 dev eth0 src 10.0.0.7 uid 0"', record=False)
    return stand_ins


def sc(docker: StandIns, *arguments: str, **variables: str) -> list[str]:
    """The calls of docker, without what they all begin with."""
    folder = docker.folder.parent / "docker"
    done = docker.run(folder / "sc-cmd.sh", *arguments, **variables)
    assert done.returncode == 0, done.stderr
    base = f"docker compose -f {folder}/docker-compose.yml -f {folder}/ray-workers.yml -p seedcore "
    calls = [call.replace(base, "") for call in docker.calls()]
    return [call.replace(f"{folder}/", "") for call in calls]


def refused(docker: StandIns, *arguments: str) -> str:
    done = docker.run(docker.folder.parent / "docker" / "sc-cmd.sh", *arguments)
    assert done.returncode == 2
    assert docker.calls() == []
    return done.stderr


STATUS = ["ps", f"exec -T ray-head ray status --address=127.0.0.1:{PORTS['gcs']}"]
WAIT = "up -d --wait --wait-timeout 300 --no-recreate --no-deps bootstrap seedcore-api"


def test_up_starts_everything_with_n_workers(docker: StandIns):
    assert sc(docker, "up", "3") == ["--profile obs up -d --scale ray-worker=3", WAIT, *STATUS]


def test_the_first_up_makes_an_env_with_secrets_of_its_own(docker: StandIns):
    sc(docker, "up")
    path = docker.folder.parent / "docker" / ".env"
    made, example = env_file(path), env_file(DOCKER / "env.example")
    assert os.stat(path).st_mode & 0o077 == 0
    fresh = {name for name in made if made[name] != example[name]}
    assert fresh == {"RAY_AUTH_TOKEN", "SEEDCORE_API_KEYS", "GRAFANA_PASSWORD"}
    assert all(re.fullmatch("[0-9a-f]{64}", made[name]) for name in fresh)
    sc(docker, "up")
    assert env_file(path) == made


def test_scale_touches_local_workers_alone(docker: StandIns):
    assert sc(docker, "scale", "5") == ["up -d --no-deps --scale ray-worker=5 ray-worker"]
    assert sc(docker, "scale_workers", "0") == ["up -d --no-deps --scale ray-worker=0 ray-worker"]


def test_restart_brings_the_head_first_and_as_many_workers_as_there_were(docker: StandIns):
    assert sc(docker, "restart") == [
        "ps -q ray-worker",
        "stop bootstrap ray-worker",
        "up -d --no-deps --force-recreate --wait --wait-timeout 300 ray-head",
        "up -d --no-deps --force-recreate --scale ray-worker=3 ray-worker seedcore-api bootstrap",
        WAIT,
    ]


def test_upgrade_migrates_before_the_roll_and_after_it(docker: StandIns):
    calls = sc(docker, "upgrade")
    assert calls[:2] == ["build ray-head", "run --rm --no-deps bootstrap seedcore migrate"]
    assert calls[-1] == "run --rm --no-deps bootstrap seedcore migrate --after"
    assert WAIT in calls[2:-1]


def test_down_and_status(docker: StandIns):
    assert sc(docker, "down") == ["--profile obs down"]
    assert sc(docker, "status") == STATUS


@pytest.mark.parametrize(
    ("which", "service"), [("head", "ray-head"), ("workers", "ray-worker"), ("api", "seedcore-api")]
)
def test_logs(docker: StandIns, which: str, service: str):
    assert sc(docker, "logs", which) == [f"logs -f --tail=200 {service}"]
    assert sc(docker, "logs") == ["logs -f --tail=200"]


REMOTE = ("HEAD_IP", "WORKER_IP", "RAY_OBJECT_MANAGER_PORT", "RAY_NODE_MANAGER_PORT")
REMOTE += ("RAY_MIN_WORKER_PORT", "RAY_MAX_WORKER_PORT", "RAY_METRICS_PORT", "RAY_DASHBOARD_AGENT_PORT")


def remote(number: int, *ports: int, head: str = "172.31.17.143") -> list[str]:
    values = [head, "10.0.0.7", *map(str, ports)]
    project = f"docker compose -f ray-workers.yml -p seedcore-remote-{number} --profile remote"
    shown = [f"  {name}={value}" for name, value in zip(REMOTE, values, strict=True)]
    return [f"{project} up -d --no-deps ray-worker-remote", *shown]


def test_remote_workers_join_the_fixed_head_each_on_ports_of_its_own(docker: StandIns):
    sc(docker, "up")
    docker.show = REMOTE
    assert sc(docker, "up-worker", "2") == [
        *remote(1, 8076, 8077, 11000, 11020, 8080, 52365),
        *remote(2, 8078, 8079, 11021, 11041, 8081, 52366),
    ]


def test_another_head_can_be_named_for_one_call(docker: StandIns):
    sc(docker, "up")
    docker.show = REMOTE
    calls = sc(docker, "up-worker", HEAD_IP_OVERRIDE="172.31.99.50")
    assert calls == remote(1, 8076, 8077, 11000, 11020, 8080, 52365, head="172.31.99.50")


def test_remote_workers_need_the_head_s_token(docker: StandIns):
    assert "docker/.env" in refused(docker, "up-worker", "1")


def test_down_worker_ends_the_remote_projects_alone(docker: StandIns):
    docker.add("docker", answer='[[ "$*" != "compose ls -q" ]] || printf "seedcore\\nseedcore-remote-1\\n"')
    calls = sc(docker, "down-worker")
    assert calls[1:] == ["docker compose -f ray-workers.yml -p seedcore-remote-1 --profile remote down"]


def test_head_on_host_adds_its_file_and_the_address(docker: StandIns):
    docker.show = ("HEAD_IP",)
    calls = sc(docker, "status", HEAD_ON_HOST="1", HEAD_IP_OVERRIDE="10.1.2.3")
    assert "-f head-on-host.yml -p seedcore ps" in calls[0]
    assert calls[1] == "  HEAD_IP=10.1.2.3"


@pytest.mark.parametrize("bad", ["-1", "two", "99999", "1;ls", ""])
def test_a_number_that_is_none_is_refused(docker: StandIns, bad: str):
    assert "not a number" in refused(docker, "scale", bad)


def test_an_unknown_command_says_what_there_is(docker: StandIns):
    assert "up-worker [N]" in refused(docker, "fly")
    assert "head, workers, api" in refused(docker, "logs", "moon")


def test_a_failing_docker_ends_the_command(docker: StandIns):
    docker.add("docker", answer="exit 7")
    done = docker.run(docker.folder.parent / "docker" / "sc-cmd.sh", "up", "1")
    assert done.returncode == 7
    assert len(docker.calls()) == 1
