"""Settings: what the environment means, and what a wrong value is told."""

from pathlib import Path

import pytest

from seedcore.errors import SettingsError
from seedcore.settings import SECRET_FIELDS, Settings, env_names, get_settings, load_settings

SECRET = "hunter2-very-secret"

DEFAULTS = {
    "namespace": "seedcore-dev",
    "http_host": "127.0.0.1",
    "http_port": 8000,
    "api_port": 8002,
    "pg_dsn": None,
    "redis_url": None,
    "neo4j_uri": None,
    "mysql_dsn": None,
    "serve_url": None,
    "dashboard_url": None,
    "ray_address": None,
    "role": None,
    "drift_threshold": 0.5,
    "max_params_bytes": 256 * 1024,
    "max_result_bytes": 1024 * 1024,
    "max_batch_tasks": 10_000,
    "max_batch_bytes": 16 * 1024 * 1024,
    "retention_finished_d": 7.0,
    "retention_dead_d": 30.0,
}


def wrong(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> SettingsError:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return caught.value


def test_the_documented_defaults_hold():
    settings = load_settings()
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(("request_s", "llm_s", "waits"), [(60, 45, 45), (60, 600, 50), (12, 45, 6), (600, 300, 300)])
def test_a_language_model_leaves_the_offline_engine_time_to_answer_a_request(request_s: int, llm_s: int, waits: int):
    settings = load_settings(request_timeout_s=request_s, cognitive_llm_timeout_s=llm_s, cognitive_timeout_s=8)
    assert settings.model_answer_s == waits


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_a_variable_in_capitals_and_a_description(name: str):
    assert all(variable == variable.upper() for variable in env_names(name))
    assert Settings.model_fields[name].description


def test_no_two_settings_share_a_variable():
    variables = [variable for name in Settings.model_fields for variable in env_names(name)]
    assert len(variables) == len(set(variables))


@pytest.mark.parametrize(
    ("winner", "loser", "field"),
    [
        ("SEEDCORE_NS", "RAY_NAMESPACE", "namespace"),
        ("RAY_SERVE_ADDRESS", "RAY_SERVE_URL", "serve_url"),
        ("RAY_DASHBOARD_ADDRESS", "RAY_DASHBOARD_URL", "dashboard_url"),
    ],
)
def test_the_first_name_wins_and_the_second_serves_alone(
    winner: str, loser: str, field: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(loser, "http://second")
    assert getattr(load_settings(), field) == "http://second"
    monkeypatch.setenv(winner, "http://first")
    assert getattr(load_settings(), field) == "http://first"
    monkeypatch.setenv(winner, "")
    assert getattr(load_settings(), field) == "http://second", "an empty variable is an unset one"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_an_empty_variable_means_unset(name: str, monkeypatch: pytest.MonkeyPatch):
    expected = getattr(load_settings(), name)
    for variable in env_names(name):
        monkeypatch.setenv(variable, "")
    assert getattr(load_settings(), name) == expected


@pytest.mark.parametrize("variable", ["ROLE", "NAMESPACE", "SKILLS", "DATA_DIR", "HTTP_PORT", "API_KEYS", "QUEUE"])
def test_a_variable_that_only_resembles_a_field_is_somebody_elses(variable: str, monkeypatch: pytest.MonkeyPatch):
    before = load_settings()
    monkeypatch.setenv(variable, "worker")
    assert load_settings() == before


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("SEEDCORE_HTTP_PORT", "70000", "less than or equal to 65535"),
        ("SEEDCORE_HTTP_PORT", "eighty", "valid integer"),
        ("SEEDCORE_ROLE", "boss", "'head', 'worker' or 'client'"),
        ("OCPS_DRIFT_THRESHOLD", "1.5", "less than 1"),
        ("SEEDCORE_LEASE_S", "nan", "finite"),
        ("SEEDCORE_RETENTION_FINISHED_D", "inf", "finite"),
        ("SEEDCORE_RETENTION_DEAD_D", "inf", "finite"),
        ("LOG_LEVEL", "LOUD", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("BOOTSTRAP_MODE", "some", "'all', 'organism' or 'dispatchers'"),
        ("DSP_LOG_TO_STDOUT", "perhaps", "valid boolean"),
    ],
)
def test_a_bad_value_is_named_with_variable_value_and_what_is_allowed(
    variable: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
):
    error = wrong(variable, value, monkeypatch)
    assert [e.field for e in error.errors] == [variable]
    for part in (variable, value, allowed):
        assert part in error.detail


def test_all_bad_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEEDCORE_HTTP_PORT", "0")
    error = wrong("SEEDCORE_LEASE_S", "0", monkeypatch)
    assert {e.field for e in error.errors} == {"SEEDCORE_HTTP_PORT", "SEEDCORE_LEASE_S"}


def test_a_bad_value_under_the_second_name_is_told_by_that_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEEDCORE_NS", "")
    monkeypatch.setenv("RAY_NAMESPACE", "fine")
    assert load_settings().namespace == "fine"


def test_a_bad_override_is_told_by_its_variable_and_own_value(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEEDCORE_HTTP_PORT", "8001")
    with pytest.raises(SettingsError, match="SEEDCORE_HTTP_PORT=-1 is not allowed"):
        load_settings(http_port=-1)


@pytest.mark.parametrize(
    ("variable", "value", "scheme"),
    [
        ("SEEDCORE_PG_DSN", f"mysql://u:{SECRET}@h/db", "postgresql://"),
        ("SEEDCORE_PG_DSN", f"postgresql://u:{SECRET}@h℀/db", "postgresql://"),
        ("SEEDCORE_PG_DSN", f"postgresql://u:{SECRET}@[h/db", "postgresql://"),
        ("REDIS_URL", f"http://:{SECRET}@h", "redis://"),
        ("NEO4J_URI", f"http://u:{SECRET}@h", "bolt://"),
        ("SEEDCORE_MYSQL_DSN", f"mysql://u:{SECRET}@h/db", "mysql+mysqlconnector://"),
        ("LLM_UPSTREAM_URL", f"ftp://u:{SECRET}@h/v1", "http://"),
        ("LLM_UPSTREAM_URL", f"https://u:{SECRET}@h/api", "/v1"),
    ],
)
def test_a_bad_url_is_refused_without_its_secret(
    variable: str, value: str, scheme: str, monkeypatch: pytest.MonkeyPatch
):
    error = wrong(variable, value, monkeypatch)
    assert variable in error.detail
    assert scheme in error.detail
    assert SECRET not in f"{error.detail} {error!r} {error.errors}"
    assert error.__cause__ is None


def test_secrets_show_in_no_representation(monkeypatch: pytest.MonkeyPatch):
    values = {
        "SEEDCORE_PG_DSN": f"postgresql://u:{SECRET}@h/db",
        "REDIS_URL": f"redis://:{SECRET}@h",
        "NEO4J_URI": f"bolt://u:{SECRET}@h",
        "NEO4J_PASSWORD": SECRET,
        "SEEDCORE_MYSQL_DSN": f"mysql+mysqlconnector://u:{SECRET}@h/db",
        "LLM_UPSTREAM_URL": f"https://u:{SECRET}@h/v1",
        "LLM_API_KEY": SECRET,
        "SEEDCORE_EMBEDDING_URL": f"https://u:{SECRET}@h/v1",
        "SEEDCORE_EMBEDDING_KEY": SECRET,
        "SEEDCORE_API_KEYS": SECRET,
        "SEEDCORE_API_KEY": SECRET,
        "SEEDCORE_APPROVER_KEYS": f"ann:{SECRET}",
        "SEEDCORE_WEBHOOKS": f"ops=https://h/?key={SECRET}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://u:{SECRET}@h",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"https://u:{SECRET}@h/v1/traces",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": f"api-key={SECRET}",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    for shown in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert SECRET not in shown
    assert settings.api_key_list == (SECRET,)
    assert settings.approvers == {SECRET: "ann"}
    assert {env_names(name)[0] for name in SECRET_FIELDS} == set(values)


def test_words_are_read_whatever_their_case(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOG_LEVEL", "debug")
    monkeypatch.setenv("BOOTSTRAP_MODE", "Organism")
    settings = load_settings()
    assert (settings.log_level, settings.bootstrap_mode) == ("DEBUG", "organism")


def test_lists_are_split_at_commas_and_trimmed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEEDCORE_API_KEYS", " a, ,b ")
    monkeypatch.setenv("SEEDCORE_SKILLS", "acme.skills , acme.more,")
    monkeypatch.setenv("SEEDCORE_FETCH_ALLOW", "Example.ORG,*.example.net")
    settings = load_settings()
    assert settings.api_key_list == ("a", "b")
    assert settings.skill_modules == ("acme.skills", "acme.more")
    assert settings.fetch_hosts == ("example.org", "*.example.net")


def test_folders_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEEDCORE_DATA_DIR", "data")
    settings = load_settings()
    assert settings.data_dir == tmp_path / "data"
    assert settings.models_dir == tmp_path / "data" / "models"


def test_the_base_url_follows_host_and_port_unless_it_is_given(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEEDCORE_HTTP_PORT", "8123")
    assert load_settings().base_url == "http://127.0.0.1:8123"
    monkeypatch.setenv("SEEDCORE_HTTP_HOST", "::1")
    assert load_settings().base_url == "http://[::1]:8123"
    monkeypatch.setenv("RAY_SERVE_URL", "http://serve:9000/")
    assert load_settings().base_url == "http://serve:9000"


def test_the_runtime_folder_is_short_and_one_for_each_data_folder(tmp_path: Path):
    long = load_settings(data_dir=tmp_path / ("x" * 100))
    assert len(str(long.runtime_dir)) < 60
    assert long.runtime_dir == load_settings(data_dir=tmp_path / ("x" * 100)).runtime_dir
    assert long.runtime_dir != load_settings(data_dir=tmp_path).runtime_dir


def test_settings_cannot_be_changed_after_the_start():
    with pytest.raises(ValueError, match="frozen"):
        get_settings().http_port = 1
    assert get_settings() is get_settings()
