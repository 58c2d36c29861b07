"""A SeedCore in the background is stopped by whoever started it, and no other is."""

import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from seedcore.cli.launch import background
from seedcore.cli.launch.background import BackgroundError, start, started, stop
from seedcore.settings import Settings


@pytest.fixture
def launcher(starts_server: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A script in the place of `seedcore run`; what it starts has ended after the test."""
    script = tmp_path / "launcher.py"
    popen, made = subprocess.Popen, []

    def replaced(command: list[str], **options: object) -> "subprocess.Popen[bytes]":
        stands_in = "seedcore.cli.main" in command
        process = popen([sys.executable, "-S", str(script)] if stands_in else command, **options)  # type: ignore[call-overload]
        made.append(process)
        return process

    monkeypatch.setattr(background.subprocess, "Popen", replaced)
    yield script
    for process in made:
        process.kill()
        process.wait()


def write(script: Path, text: str) -> None:
    script.write_text(textwrap.dedent(text))


READY = """
    import time
    print("Starting SeedCore ...", flush=True)
    print("SeedCore is ready: http://127.0.0.1:1", flush=True)
    time.sleep(600)
"""


def test_it_is_ready_says_what_the_launcher_said_and_can_be_stopped_once(launcher: Path, settings: Settings) -> None:
    write(launcher, READY)
    said: list[str] = []
    made = start(settings, said.append)
    assert said == ["Starting SeedCore ...", "SeedCore is ready: http://127.0.0.1:1"]
    assert started(settings) == made
    assert stop(settings) is True
    assert made.process() is None
    assert started(settings) is None
    assert stop(settings) is False


def test_one_that_ends_before_it_is_ready_is_an_error_that_says_what_it_said(
    launcher: Path, settings: Settings
) -> None:
    write(launcher, 'print("seedcore: SEEDCORE_HTTP_PORT=1 is not allowed"); raise SystemExit(2)')
    said: list[str] = []
    with pytest.raises(BackgroundError, match="exit status 2"):
        start(settings, said.append)
    assert said == ["seedcore: SEEDCORE_HTTP_PORT=1 is not allowed"]
    assert started(settings) is None


def test_interrupted_while_it_starts_it_is_stopped_again(launcher: Path, settings: Settings) -> None:
    write(launcher, READY)

    def interrupt(_line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(settings, interrupt)
    assert started(settings) is None


def test_another_process_than_its_parent_stops_it(launcher: Path, settings: Settings) -> None:
    write(launcher, READY)
    made = start(settings, lambda _line: None)
    elsewhere = (
        "import sys; from pathlib import Path; from seedcore.settings import load_settings; "
        "from seedcore.cli.launch.background import stop; "
        "print(stop(load_settings(data_dir=Path(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", elsewhere, str(settings.data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "True\n", done.stderr
    assert made.process() is None


def test_a_process_that_has_the_pid_by_chance_is_left_alone(settings: Settings) -> None:
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        record = settings.data_dir / "run" / "background.json"
        record.parent.mkdir(parents=True)
        began = psutil.Process(stranger.pid).create_time() - 100
        record.write_text(json.dumps({"pid": stranger.pid, "began": began, "log": "x"}))
        assert stop(settings) is False
        time.sleep(0.05)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
