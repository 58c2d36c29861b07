"""What `serve run serve_config/dev.yaml` is held to; tests/e2e/test_by_hand.py runs it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from entrypoints import by_hand
from seedcore.cli.launch.serve_config import filled_config
from seedcore.errors import SettingsError
from seedcore.settings import load_settings

FOLDER = Path(__file__).parents[2] / "serve_config"
LISTEN = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"


@pytest.fixture
def listener() -> Iterator[tuple[int, int]]:
    """The pid of another program that listens, and its port."""
    with subprocess.Popen([sys.executable, "-c", LISTEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        yield other.pid, int(other.stdout.readline())
        other.kill()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_port_on_which_another_program_listens_is_refused(host: str, listener: tuple[int, int]) -> None:
    pid, port = listener
    with pytest.raises(SettingsError, match=rf"SEEDCORE_HTTP_PORT={port} is in use on {host} \(pid {pid}\)"):
        by_hand.check_port(host, port, ours={1})


@pytest.mark.parametrize(("host", "own"), [("127.0.0.1", True), ("127.0.0.3", False)])
def test_a_proxy_of_this_ray_and_a_listener_on_another_address_take_no_port(
    host: str, own: bool, listener: tuple[int, int]
) -> None:
    pid, port = listener
    by_hand.check_port(host, port, ours={pid} if own else set())


@pytest.mark.parametrize(
    ("settings", "there", "word"),
    [
        ({}, ("0.0.0.0", 8000), "SEEDCORE_HTTP_HOST='0.0.0.0' is not allowed without SEEDCORE_API_KEYS"),
        ({"api_keys": "key"}, ("0.0.0.0", 8000), "SEEDCORE_HTTP_HOST is 127.0.0.1, but .* says 0.0.0.0"),
        ({"http_port": 9000}, ("127.0.0.1", 8000), "SEEDCORE_HTTP_PORT is 9000, but .* says 8000"),
        ({}, ("127.0.0.1", 9000), "SEEDCORE_HTTP_PORT is 8000, but .* says 9000"),
    ],
)
def test_where_serve_listens_must_be_safe_and_what_the_settings_say(
    settings: dict[str, object], there: tuple[str, int], word: str
) -> None:
    with pytest.raises(SettingsError, match=word):
        by_hand.check_http(load_settings(**settings), *there)


def test_with_a_key_and_the_same_in_both_it_may_be_any_host() -> None:
    by_hand.check_http(load_settings(http_host="0.0.0.0", http_port=9000, api_keys="key"), "0.0.0.0", 9000)


def test_dev_yaml_alone_asks_for_the_checks_and_the_launcher_has_made_them() -> None:
    written = {name: yaml.safe_load((FOLDER / name).read_text())["applications"] for name in ("dev.yaml", "prod.yaml")}
    assert all(app["args"]["by_hand"] is True for app in written["dev.yaml"])
    assert not any("by_hand" in app["args"] for app in written["prod.yaml"])
    assert not any("by_hand" in app["args"] for app in filled_config(load_settings())["applications"])
