"""examples/ray against a real head, through `ray://`: one head for all."""

import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.ray_head import RayHead, isolated_env, ray_head

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "ray"


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with ray_head(num_cpus=2) as started:
        yield started


@pytest.fixture
def redis_url(require_service: Callable[[bool, str], None]) -> Iterator[str]:
    require_service(shutil.which("redis-server") is not None, "redis-server")
    folder = Path(tempfile.mkdtemp(prefix="scr"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    yield f"redis://127.0.0.1:{port}"
    server.terminate()
    server.wait(10)
    shutil.rmtree(folder)


def start(name: str, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(FOLDER / name), *arguments],
        env=isolated_env(variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]", status: int = 0) -> tuple[list[str], str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == status, err
    # The connection layer tells of itself.
    return [line for line in out.splitlines() if "connected to Ray" not in line], err


def test_hello_world_a_sum_and_the_platform_s_services(head: RayHead, redis_url: str, pg_dsn: str):
    services = {"REDIS_URL": redis_url, "SEEDCORE_PG_DSN": pg_dsn, "RAY_ADDRESS": head.client_url}
    hello, total, platform = (
        start("hello_world.py", RAY_ADDRESS=head.client_url),
        start("distributed_sum.py", RAY_ADDRESS=head.client_url),
        start("platform_services.py", "a b a", "c", "a b a", **services),
    )
    assert ended(hello)[0] == ["Hello from Ray!"]
    (line,) = ended(total)[0]
    assert 490_000 < float(line.removeprefix("Total sum: ")) < 510_000
    answers, told = ended(platform)
    first, second, again = map(json.loads, answers)
    assert first == {"result": {"a": 2, "b": 1}, "cached": False, "published": False}
    assert second["result"] == {"c": 1}
    assert again == first | {"cached": True}
    assert "KAFKA_BOOTSTRAP_SERVERS is not set" in told


def test_what_is_missing_is_named():
    if importlib.util.find_spec("torch") is None:
        assert "pip install 'seedcore[train]'" in ended(start("training.py"), 2)[1]
    if importlib.util.find_spec("kafka") is None:
        services = {"REDIS_URL": "redis://x", "SEEDCORE_PG_DSN": "postgresql://x", "KAFKA_BOOTSTRAP_SERVERS": "x:9092"}
        assert "pip install 'seedcore[kafka]'" in ended(start("platform_services.py", **services), 2)[1]
    assert "Set REDIS_URL and SEEDCORE_PG_DSN" in ended(start("platform_services.py"), 2)[1]
