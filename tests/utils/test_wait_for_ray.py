"""Waiting for the Ray of this data directory, and for no other."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from seedcore.errors import RayConnectionError
from seedcore.settings import default_data_dir, load_settings
from seedcore.utils import ray_address, ray_utils
from seedcore.utils.ray_address import LocalRay, uses_data_dir


@pytest.fixture
def rays(monkeypatch: pytest.MonkeyPatch) -> list[LocalRay]:
    """What runs on this host."""
    found: list[LocalRay] = []
    monkeypatch.setattr(ray_address, "find_local_rays", lambda: list(found))
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The addresses that a connection was asked for."""
    asked: list[str | None] = []
    monkeypatch.setattr(ray_utils, "ensure_ray_initialized", lambda address, **_: asked.append(address))
    monkeypatch.setattr(ray_utils, "current_connection", lambda: None)
    return asked


@pytest.fixture
def raylet() -> Iterator["Raylets"]:
    with Raylets() as raylets:
        yield raylets


class Raylets:
    """Processes with the environment of a raylet."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Raylets":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.kill()
            process.wait()

    def start(self, address: str, data_dir: Path | None) -> LocalRay:
        """One that serves `data_dir`; None: its environment does not name any."""
        environment = {"PATH": os.environ["PATH"]} | ({"SEEDCORE_DATA_DIR": str(data_dir)} if data_dir else {})
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", "print(1, flush=True); input()"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return LocalRay(address, process.pid, time.time(), head=True)


def test_a_ray_belongs_to_the_data_directory_of_its_raylet(raylet: Raylets, tmp_path: Path) -> None:
    assert uses_data_dir(raylet.start("127.0.0.1:1", tmp_path), tmp_path)
    assert not uses_data_dir(raylet.start("127.0.0.1:1", tmp_path / "other"), tmp_path)
    assert uses_data_dir(raylet.start("127.0.0.1:1", None), default_data_dir())
    assert not uses_data_dir(raylet.start("127.0.0.1:1", None), tmp_path)


def test_the_ray_of_another_data_directory_is_left_alone(
    rays: list[LocalRay], asked: list[str | None], raylet: Raylets, tmp_path: Path
) -> None:
    rays.append(raylet.start("127.0.0.1:1", tmp_path / "other"))
    with pytest.raises(RayConnectionError, match="No Ray came up in time"):
        ray_utils.wait_for_ray(time.monotonic() + 0.3, settings=load_settings(data_dir=tmp_path))
    assert asked == []


@pytest.mark.parametrize("named", [None, "auto"])
def test_a_ray_that_comes_while_it_waits_is_taken(
    named: str | None,
    rays: list[LocalRay],
    asked: list[str | None],
    raylet: Raylets,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rays.append(raylet.start("127.0.0.1:1", tmp_path / "other"))
    mine = raylet.start("127.0.0.1:2", tmp_path)
    monkeypatch.setattr("time.sleep", lambda _: rays.append(mine))
    ray_utils.wait_for_ray(time.monotonic() + 30, settings=load_settings(data_dir=tmp_path, ray_address=named))
    assert asked == ["127.0.0.1:2"]


def test_of_several_it_waits_until_the_record_names_one(
    rays: list[LocalRay], asked: list[str | None], raylet: Raylets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rays += [raylet.start(f"127.0.0.1:{n}", tmp_path) for n in (1, 2)]
    recorded: list[str | None] = [None, None, "127.0.0.1:2"]
    monkeypatch.setattr(ray_utils, "recorded_ray_address", lambda _: recorded.pop(0))
    ray_utils.wait_for_ray(time.monotonic() + 30, settings=load_settings(data_dir=tmp_path))
    assert asked == ["127.0.0.1:2"]


def test_what_waiting_cannot_cure_is_said_at_once(rays: list[LocalRay], tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(RayConnectionError, match="not the address of a Ray"):
        ray_utils.wait_for_ray(began + 30, settings=load_settings(data_dir=tmp_path, ray_address="nonsense"))
    assert time.monotonic() - began < 5
