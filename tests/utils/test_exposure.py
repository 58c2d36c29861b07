"""Who can reach what: the one rule for hosts without API keys, and files with a secret."""

import stat
from pathlib import Path

import pytest

from seedcore.errors import SettingsError
from seedcore.settings import load_settings
from seedcore.utils.exposure import check_exposure, is_loopback, make_private


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_loopback_hosts_need_no_key(host: str) -> None:
    assert is_loopback(host)
    check_exposure(load_settings(http_host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example.org", "127.0.0.1.example.org"])
def test_hosts_that_others_reach_need_one(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(SettingsError, match=r"SEEDCORE_HTTP_HOST='.*' is not allowed without SEEDCORE_API_KEYS"):
        check_exposure(load_settings(http_host=host))
    check_exposure(load_settings(http_host=host, api_keys="key"))


def test_where_http_really_listens_counts_not_what_the_setting_says() -> None:
    with pytest.raises(SettingsError, match=r"0\.0\.0\.0"):
        check_exposure(load_settings(http_host="127.0.0.1"), "0.0.0.0")


def test_a_secret_that_all_could_read_is_kept_to_its_owner(tmp_path: Path) -> None:
    secret = tmp_path / "auth_token"
    secret.write_text("secret")
    secret.chmod(0o644)
    make_private(secret)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.read_text() == "secret"


def test_a_secret_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    make_private(tmp_path / "auth_token")
    assert not list(tmp_path.iterdir())
