"""Optional packages are left out of an import, and can be imported afterwards."""

import importlib
import subprocess
import sys
import threading

import pytest

from seedcore.telemetry.lean_imports import empty, nothing_hidden, without


def test_a_package_is_missing_inside_and_there_afterwards(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with without("wave"), pytest.raises(ImportError):
        import wave
    import wave

    assert wave.__name__ == "wave"


def test_a_module_is_empty_inside_and_itself_afterwards(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with empty("wave"):
        import wave

        assert not hasattr(wave, "open")
    import wave

    assert hasattr(wave, "open")


def test_what_is_loaded_already_stays(monkeypatch: pytest.MonkeyPatch):
    import wave

    with without("wave"):
        import wave as inside
    assert inside is wave
    assert sys.modules["wave"] is wave


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("seedcore.telemetry.logs", "rich"),
        ("entrypoints.gateway_entrypoint", "rich"),
        ("entrypoints.state_entrypoint", "rich"),
        ("entrypoints.energy_entrypoint", "rich"),
        ("seedcore.worker.actors.ray_actors", "sklearn"),
    ],
)
def test_a_process_does_not_load_what_it_does_not_need(module: str, package: str):
    code = f"import sys, {module}; sys.exit({package!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_package_that_another_thread_hides_is_found_once_that_has_ended():
    hidden, found = threading.Event(), threading.Event()

    def hide() -> None:
        with without("wave"):
            hidden.set()
            found.wait(0.2)

    sys.modules.pop("wave", None)
    thread = threading.Thread(target=hide)
    thread.start()
    hidden.wait(5)
    with nothing_hidden():
        importlib.import_module("wave")
    found.set()
    thread.join()
