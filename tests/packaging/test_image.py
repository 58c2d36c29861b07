"""The Dockerfile, as far as no engine is needed: its steps run in a clean folder."""

import mmap
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import ray

from tests.packaging.files import DOCKER, IMAGE, PORTS, PYTHON, RAY_VERSION, ROOT

DOCKERFILE = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ")
STEPS = [line.split(maxsplit=1) for line in DOCKERFILE.splitlines() if re.match(r"[A-Z]+ ", line)]


def copied() -> list[list[str]]:
    """Every COPY from the build's context: sources and, last, where they go."""
    found = []
    for instruction, rest in STEPS:
        if instruction == "COPY" and "--from" not in rest:
            found.append([word for word in rest.split() if not word.startswith("--")])
    return found


def let_in() -> list[str]:
    """What .dockerignore lets into the build."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    return [line.removeprefix("!") for line in lines if line.startswith("!")]


def test_what_is_copied_exists_and_is_let_in_and_nothing_else_is():
    sources = {source for *some, _ in copied() for source in some}
    assert all((ROOT / source).exists() for source in sources)
    assert sources == set(let_in())
    assert not any(".env" in source for source in sources)


def test_it_is_multi_stage_and_runs_as_somebody_else():
    assert [i for i, _ in STEPS].count("FROM") == 2
    user = next(rest for i, rest in STEPS if i == "USER")
    assert user == "1000:1000"
    assert not any(i == "ENV" and re.search("TOKEN|PASSWORD|KEY", rest) for i, rest in STEPS)


def test_python_and_ports_are_those_of_the_project():
    assert f"ARG PYTHON_IMAGE=python:{PYTHON}-slim-bookworm" in DOCKERFILE
    exposed = {int(p) for i, rest in STEPS if i == "EXPOSE" for p in rest.split()}
    assert exposed == {PORTS[n] for n in ("gcs", "serve", "api", "compose_metrics", "dashboard", "client")}
    assert f"-t {IMAGE} ." in DOCKERFILE


def test_every_bound_of_ray_s_start_is_one_that_this_ray_reads():
    """Ray passes over a variable that it does not know."""
    (bounds,) = [rest for i, rest in STEPS if i == "ENV" and "STARTUP_TIMEOUT" in rest]
    folder = Path(str(ray.__file__)).parent
    texts = [folder / "_private/ray_constants.py", folder / "_private/node.py", folder / "serve/_private/constants.py"]
    known = b"".join(path.read_bytes() for path in texts)
    with (folder / "_raylet.so").open("rb") as library, mmap.mmap(library.fileno(), 0, prot=mmap.PROT_READ) as compiled:
        for bound in bounds.split():
            name, _, value = bound.partition("=")
            # Python names it whole; the compiled part has the names without what precedes all of them.
            assert f'"{name}"'.encode() in known or compiled.find(name.removeprefix("RAY_").encode()) >= 0, name
            assert int(value) >= 60


def test_every_installation_is_pinned():
    for install in re.findall(r"pip install ([^&]*)", DOCKERFILE):
        assert "-c constraints.txt" in install or "--no-deps" in install
    pins = (ROOT / "constraints.txt").read_text()
    assert f"\nray=={RAY_VERSION}\n" in pins
    assert re.search(r'"ray\[serve,default\]==(\d+\.\d+)\.\*"', (ROOT / "pyproject.toml").read_text())[1] in RAY_VERSION  # type: ignore[index]


@pytest.fixture(scope="module")
def clean_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build stage's folder: what the Dockerfile copies, and nothing else."""
    folder = tmp_path_factory.mktemp("build")
    for *sources, target in copied():
        if target.startswith("/"):
            continue
        for source in sources:
            into = folder / target / Path(source).name if target.endswith("/") else folder / target
            into.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, into, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, into)
    return folder


def test_the_dependencies_step_prints_what_the_project_needs(clean_folder: Path):
    printed = subprocess.check_output([sys.executable, "docker/dependencies.py"], cwd=clean_folder, text=True)
    assert "ray[serve,default]==2.60.*" in printed.splitlines()


def test_the_wheel_builds_from_what_is_copied_and_holds_all_that_runs(clean_folder: Path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run(command, cwd=clean_folder, check=True, capture_output=True, timeout=60)
    (wheel,) = (clean_folder / "dist").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "seedcore/api/__main__.py",
        "seedcore/serve_config/prod.yaml",
        "bootstraps/bootstrap_entry.py",
        "entrypoints/ml_entrypoint.py",
        "seedcore/fleet/default_organs.yaml",
    ):
        assert name in names


@pytest.mark.parametrize(
    ("role", "wanted", "refused"),
    [
        ("head", {"http://127.0.0.1:52365/api/local_raylet_healthz", "http://127.0.0.1:8000/-/healthz"}, ":8000"),
        ("worker", {"http://127.0.0.1:52365/api/local_raylet_healthz"}, ":52365"),
        ("client", {"http://127.0.0.1:8002/health"}, ":8002"),
    ],
)
def test_the_health_check_asks_what_the_role_answers(stand_ins, role: str, wanted: set[str], refused: str):
    stand_ins.add("wget", answer="echo success")
    assert stand_ins.run(DOCKER / "healthcheck.sh", SEEDCORE_ROLE=role).returncode == 0
    assert {call.rsplit(" ", 1)[1] for call in stand_ins.calls()} == wanted
    stand_ins.add("wget", answer=f'[[ "$*" != *{refused}* ]] && echo success')
    assert stand_ins.run(DOCKER / "healthcheck.sh", SEEDCORE_ROLE=role).returncode != 0
