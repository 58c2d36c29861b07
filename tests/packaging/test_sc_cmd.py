"""docker/sc-cmd.sh with a docker that writes down how it was called."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.files import DOCKER, PORTS, env_file
from tests.packaging.stand_ins import StandIns

UNNAMED = "0123456789abcdef" * 4
WORKERS = [f"seedcore-ray-worker-{n}" for n in (10, 9, 1)]
ANSWER = f"""
case "$*" in
    *" ps -q ray-worker") printf "a\\nb\\nc\\n" ;;
    *"service=ray-worker") printf "%s\\n" {" ".join(WORKERS)} ;;
    *" -a"*"{{{{.ID}}}}"* | *"{{{{.ID}}}} -a"*) printf "id1\\nid2\\n" ;;
    "inspect "*id1 | "inspect "*-9) printf "{UNNAMED}\\nseedcore_seedcore-data\\n\\n" ;;
    *"health=healthy"*) printf "ray-worker\\nray-head\\nray-worker\\n" ;;
esac
"""


@pytest.fixture
def docker(tmp_path: Path, stand_ins: StandIns) -> StandIns:
    """A copy of docker/, so that .env is the test's own; three workers run, and all is well."""
    shutil.copytree(DOCKER, tmp_path / "docker", ignore=shutil.ignore_patterns(".env"))
    stand_ins.add("docker", answer=ANSWER)
    stand_ins.add("sleep")
    stand_ins.add("ip", answer='echo "172.31.17.143 via 10.0.0.1 dev eth0 src 10.0.0.7 uid 0"', record=False)
    return stand_ins


def sc(docker: StandIns, *arguments: str, **variables: str) -> list[str]:
    """The calls of docker, without what they all begin with."""
    folder = docker.folder.parent / "docker"
    done = docker.run(folder / "sc-cmd.sh", *arguments, **variables)
    assert done.returncode == 0, done.stderr
    base = f"docker compose -f {folder}/docker-compose.yml -f {folder}/ray-workers.yml -p seedcore "
    calls = [call.replace(base, "") for call in docker.calls()]
    calls = [call.replace(f"{folder}/", "").replace(CONTAINERS, "containers ") for call in calls]
    # What it only looks at, to say it.
    return [call for call in calls if not call.startswith("containers ")]


def refused(docker: StandIns, *arguments: str) -> str:
    done = docker.run(docker.folder.parent / "docker" / "sc-cmd.sh", *arguments)
    assert done.returncode == 2
    assert docker.calls() == []
    return done.stderr


STATUS = ["ps", f"exec -T ray-head ray status --address=127.0.0.1:{PORTS['gcs']}"]
CONTAINERS = "docker ps --filter label=com.docker.compose.project=seedcore --format "
WAIT = "up -d --wait --wait-timeout 300 --no-recreate --no-deps bootstrap seedcore-api"


def test_up_starts_everything_with_n_workers(docker: StandIns):
    assert sc(docker, "up", "3") == ["--profile obs up -d --scale ray-worker=3", WAIT, *STATUS]


def up(docker: StandIns, **variables: str) -> "subprocess.CompletedProcess[str]":
    return docker.run(docker.folder.parent / "docker" / "sc-cmd.sh", "up", **variables)


def test_the_last_line_of_up_says_what_is_up_and_where(docker: StandIns):
    done = up(docker, SEEDCORE_BIND="10.0.0.7")
    assert done.stdout.splitlines()[-1] == (
        "sc-cmd: up: ray-head, ray-worker x2; a task went through; SeedCore: http://10.0.0.7:8000, API: http://10.0.0.7:8002"
    )


@pytest.mark.parametrize("which", ["--scale ray-worker=1", "--wait --wait-timeout"])
def test_up_waits_again_while_something_still_starts(docker: StandIns, tmp_path: Path, which: str):
    """Docker calls a slow start unhealthy, and Compose ends there; half a minute later all is well."""
    slow = f"""
case "$*" in
    *"{which}"*) echo >> {tmp_path}/n; [ "$(wc -l < {tmp_path}/n)" -gt 2 ] || exit 1 ;;
    *health=unhealthy*) [ "$(wc -l < {tmp_path}/n)" -gt 2 ] || echo seedcore-api ;;
esac
"""
    docker.add("docker", answer=ANSWER + slow)
    done = up(docker)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("sc-cmd: not up yet: seedcore-api; waiting on") == 2
    assert docker.calls().count("sleep 5") == 2


def test_what_never_gets_well_ends_up_with_its_name_and_the_setting(docker: StandIns):
    docker.add("docker", answer='case "$*" in *" --wait "*) exit 1 ;; *health=unhealthy*) echo bootstrap ;; esac')
    done = up(docker, SC_UP_TIMEOUT_S="0")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("sc-cmd: not up: bootstrap; see ")
    assert "SC_UP_TIMEOUT_S" in done.stderr
    assert "a task went through" not in done.stdout


def test_a_store_that_still_starts_is_not_called_up(docker: StandIns):
    docker.add("docker", answer='case "$*" in *health=healthy*) echo ray-head ;; *health=starting*) echo neo4j ;; esac')
    assert "sc-cmd: up: ray-head; not yet: neo4j; a task" in up(docker).stdout


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
    assert sc(docker, "scale_workers", "3") == ["up -d --no-deps --scale ray-worker=3 ray-worker"]


@pytest.mark.parametrize("command", ["scale", "up"])
def test_scaling_down_takes_the_volumes_of_the_highest_workers_with_them(docker: StandIns, command: str):
    calls = sc(docker, command, "1")
    assert calls[2:4] == [f"docker {verb} seedcore-ray-worker-9 seedcore-ray-worker-10" for verb in ("stop", "rm")]
    assert calls[4] == f"docker volume rm {UNNAMED}"
    assert "--scale ray-worker=1" in calls[5]


def test_restart_brings_the_head_first_and_as_many_workers_as_there_were(docker: StandIns):
    assert sc(docker, "restart") == [
        "ps -q ray-worker",
        "stop bootstrap ray-worker",
        "up -d --no-deps --force-recreate ray-head",
        "up -d --no-deps --no-recreate --wait --wait-timeout 300 ray-head",
        "up -d --no-deps --force-recreate --scale ray-worker=3 ray-worker seedcore-api bootstrap",
        WAIT,
    ]


def test_upgrade_migrates_before_the_roll_and_after_it(docker: StandIns):
    calls = sc(docker, "upgrade")
    assert calls[:2] == ["build ray-head", "run --rm --no-deps bootstrap seedcore migrate"]
    assert calls[-1] == "run --rm --no-deps bootstrap seedcore migrate --after"
    assert WAIT in calls[2:-1]


def test_down_leaves_no_volume_without_a_name(docker: StandIns):
    """Looked for before the containers go: the engine's own rule forgets those of a container that was recreated."""
    looked = ["docker inspect -f {{range .Mounts}}{{println .Name}}{{end}} id1", "--profile obs down"]
    calls = sc(docker, "down")
    assert [calls[0], *calls[2:]] == [*looked, f"docker volume rm {UNNAMED}"]


def test_down_without_containers_removes_no_volume(docker: StandIns):
    docker.add("docker")
    assert sc(docker, "down") == ["--profile obs down"]


def test_status(docker: StandIns):
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
    listed = '[[ "$*" != "compose ls -q" ]] || printf "seedcore\\nseedcore-remote-1\\n"'
    volume = f'[[ "$*" != inspect* ]] || echo {UNNAMED}; [[ "$*" != *project=seedcore-remote-1 ]] || echo id7'
    docker.add("docker", answer=f"{listed}; {volume}")
    calls = sc(docker, "down-worker")
    assert calls[2] == "docker inspect -f {{range .Mounts}}{{println .Name}}{{end}} id7"
    assert calls[3:] == [
        "docker compose -f ray-workers.yml -p seedcore-remote-1 --profile remote down",
        f"docker volume rm {UNNAMED}",
    ]


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
    docker.add("docker", answer='[[ "$*" != *"up -d"* ]] || exit 7')
    assert up(docker).returncode == 7
    assert sum("up -d" in call for call in docker.calls()) == 1
