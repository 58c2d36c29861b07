"""The recorded address: written in one step, and believed only while that same Ray answers."""

import json
import os
import socket
from collections.abc import Iterator

import psutil
import pytest

from seedcore.errors import RayConnectionError
from seedcore.settings import Settings
from seedcore.utils import ray_address
from seedcore.utils.ray_address import LocalRay
from seedcore.utils.ray_record import forget_ray_address, record_path, record_ray_address, recorded_ray_address


@pytest.fixture
def ray(starts_server: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalRay]:
    """This process plays the raylet of a Ray that answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        own = psutil.Process()
        local = LocalRay(f"127.0.0.1:{server.getsockname()[1]}", own.pid, own.create_time(), head=True)
        monkeypatch.setattr(ray_address, "find_local_rays", lambda: [local])
        yield local


def change(settings: Settings, **values: object) -> None:
    path = record_path(settings)
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_what_was_recorded_is_found_again(settings: Settings, ray: LocalRay) -> None:
    assert recorded_ray_address(settings) is None
    path = record_ray_address(settings, ray.address.replace("127.0.0.1", "localhost"))
    assert path == settings.data_dir / "run" / "ray_address"
    assert recorded_ray_address(settings) == ray.address
    entry = json.loads(path.read_text())
    assert (entry["address"], entry["pid"]) == (ray.address, os.getpid())
    assert entry["time"] >= entry["started"]
    assert [item.name for item in path.parent.iterdir()] == ["ray_address"]


def test_a_forgotten_address_is_gone_and_may_be_forgotten_again(settings: Settings, ray: LocalRay) -> None:
    record_ray_address(settings, ray.address)
    forget_ray_address(settings)
    forget_ray_address(settings)
    assert recorded_ray_address(settings) is None


def test_only_a_ray_of_this_host_is_recorded(settings: Settings, ray: LocalRay) -> None:
    with pytest.raises(RayConnectionError, match=r"203\.0\.113\.7:6379 runs on this host, so it is not recorded"):
        record_ray_address(settings, "203.0.113.7:6379")
    with pytest.raises(RayConnectionError, match="not connected"):
        record_ray_address(settings)
    assert not record_path(settings).exists()


def test_a_ray_whose_process_ended_is_stale(
    settings: Settings, ray: LocalRay, capsys: pytest.CaptureFixture[str]
) -> None:
    record_ray_address(settings, ray.address)
    change(settings, pid=2**22 + 1)
    assert recorded_ray_address(settings) is None
    assert "has ended" in capsys.readouterr().out


def test_another_process_with_the_same_id_and_port_is_stale(settings: Settings, ray: LocalRay) -> None:
    record_ray_address(settings, ray.address)
    change(settings, started=ray.started - 60)
    assert recorded_ray_address(settings) is None


def test_an_address_that_no_longer_answers_is_stale(
    settings: Settings, ray: LocalRay, capsys: pytest.CaptureFixture[str]
) -> None:
    record_ray_address(settings, ray.address)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        silent = f"127.0.0.1:{gone.getsockname()[1]}"
    change(settings, address=silent)
    assert recorded_ray_address(settings) is None
    assert "nothing answers there" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text", ["", "not json", "[]", "{}", '{"address": "x", "pid": 1}', '{"address": "h:1", "pid": "x"}']
)
def test_a_damaged_file_is_ignored_and_says_so(
    settings: Settings, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = record_path(settings)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert recorded_ray_address(settings) is None
    assert "ignored" in capsys.readouterr().out
