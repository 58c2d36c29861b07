"""Two SeedCores on one machine share nothing, and no inherited variable sends one to another's Ray."""

import contextlib
import socket
import stat
from pathlib import Path

import pytest

from seedcore.cli.launch import environment, free_ports
from seedcore.errors import SettingsError
from seedcore.settings import load_settings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def free_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every port is free."""
    monkeypatch.setattr(free_ports, "is_free", lambda _port: True)


@pytest.mark.usefixtures("free_machine")
def test_it_always_starts_a_ray_of_its_own(tmp_path: Path, root: Path) -> None:
    settings = load_settings(data_dir=tmp_path, http_port=8123)
    inherited = {"RAY_ADDRESS": "ray://elsewhere:10001", "RAY_HOST": "elsewhere", "RAY_SERVE_URL": "http://elsewhere"}
    child = environment.serve_environment(settings, inherited, root)
    assert child["RAY_ADDRESS"] == "local"
    assert child["RAY_SERVE_ADDRESS"] == "http://127.0.0.1:8123"
    assert "elsewhere" not in "".join(child.values())


@pytest.mark.usefixtures("free_machine")
def test_what_the_user_set_reaches_the_children(tmp_path: Path, root: Path) -> None:
    child = environment.serve_environment(load_settings(data_dir=tmp_path), {"SEEDCORE_SKILLS": "acme.skills"}, root)
    assert child["SEEDCORE_SKILLS"] == "acme.skills"


@pytest.mark.usefixtures("free_machine")
def test_authentication_is_never_left_to_chance(tmp_path: Path, root: Path) -> None:
    child = environment.serve_environment(load_settings(data_dir=tmp_path), {"RAY_AUTH_MODE": "disabled"}, root)
    assert child["RAY_AUTH_MODE"] == "token"


@pytest.mark.integration
def test_two_instances_with_haproxy_share_no_path_and_no_port(tmp_path: Path) -> None:
    places: list[set[str]] = []
    with contextlib.ExitStack() as listening:
        for name in ("one", "two"):
            settings = load_settings(data_dir=tmp_path / name, http_mode="haproxy")
            child = environment.serve_environment(settings, {}, tmp_path / f"root-{name}")
            assert child["RAY_SERVE_ENABLE_HA_PROXY"] == child["RAY_SERVE_THROUGHPUT_OPTIMIZED"] == "1"
            places.append(
                {v for k, v in child.items() if k.endswith(("_PORT", "_SOCKET_PATH", "_LOC", "_BASE", "_FILE"))}
            )
            first = int(child["RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"])
            listening.enter_context(socket.create_server(("127.0.0.1", first)))
    assert not places[0] & places[1]


@pytest.mark.usefixtures("free_machine")
def test_neighbouring_instances_share_no_port_of_replicas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = []
    for start in (20_000, 20_200):
        monkeypatch.setattr(environment, "PORT_BLOCKS", range(start, start + 1, 200))
        child = environment.haproxy_environment(load_settings(data_dir=tmp_path), tmp_path)
        for kind in ("HTTP", "GRPC"):
            low, high = (int(child[f"RAY_SERVE_DIRECT_INGRESS_{end}_{kind}_PORT"]) for end in ("MIN", "MAX"))
            blocks.append(range(low, high + 1))
    taken = [port for block in blocks for port in block]
    assert len(taken) == len(set(taken)) == 392
    assert max(map(int, (v for k, v in child.items() if k.endswith("_PORT")))) < 32_768, (
        "none that connections are given"
    )


def test_the_token_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    environment.ensure_ray_token({"HOME": str(tmp_path)})
    token = tmp_path / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert len(first := token.read_text()) >= 32
    environment.ensure_ray_token({"HOME": str(tmp_path)})
    assert token.read_text() == first


def test_a_token_that_ray_left_readable_for_all_is_kept_and_made_private(tmp_path: Path) -> None:
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("made by ray.init()")
    token.chmod(0o644)
    environment.ensure_ray_token({"HOME": str(tmp_path)})
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text() == "made by ray.init()"


def test_a_token_of_the_user_s_own_is_kept(tmp_path: Path) -> None:
    environment.ensure_ray_token({"HOME": str(tmp_path), "RAY_AUTH_TOKEN_PATH": "/somewhere"})
    assert not (tmp_path / ".ray").exists()


def test_a_home_that_cannot_be_written_names_the_way_out(tmp_path: Path) -> None:
    (tmp_path / ".ray").write_text("")
    with pytest.raises(SettingsError, match="RAY_AUTH_TOKEN_PATH"):
        environment.ensure_ray_token({"HOME": str(tmp_path)})


def test_sockets_fit_even_below_a_long_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    root = environment.session_root(load_settings(data_dir=tmp_path / "data"))
    assert len(str(root)) + environment.LONGEST_SOCKET <= environment.SOCKET_PATH_LIMIT
    node_id = "f" * 56
    assert len(str(root / environment.HAPROXY_FOLDER / node_id / environment.HAPROXY_METRICS)) < 97
    assert stat.S_IMODE((root / "ray").stat().st_mode) == 0o700
    environment.remove_session_root(load_settings(data_dir=tmp_path / "data"))
    assert not root.exists()


def test_only_the_last_session_is_kept(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / "ray" / f"session_2026-01-0{n}").mkdir(parents=True)
    environment.remove_old_sessions(tmp_path)
    assert [p.name for p in (tmp_path / "ray").iterdir()] == ["session_2026-01-02"]


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:8000"), ("::1", "http://[::1]:8000"), ("0.0.0.0", "http://127.0.0.1:8000")],
)
def test_the_shown_address_can_be_opened(host: str, url: str) -> None:
    assert environment.local_url(load_settings(http_host=host)) == url
