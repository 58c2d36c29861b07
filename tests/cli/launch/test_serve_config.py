"""The Serve configuration that `seedcore run` writes."""

from pathlib import Path

import yaml

from seedcore.cli.launch.serve_config import config_file, write_config
from seedcore.settings import load_settings


def test_the_settings_are_filled_in(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    settings = load_settings(data_dir=tmp_path, http_host="::1", http_port=8123, log_level="WARNING")
    path, applications = write_config(settings)
    written = yaml.safe_load(path.read_text())
    assert written["http_options"]["host"] == "::1"
    assert written["http_options"]["port"] == 8123
    assert written["logging_config"]["log_level"] == "WARNING"
    assert [a.health_path for a in applications][:2] == ["/health", "/ml/health"]


def test_nothing_but_the_filled_in_values_differs_from_dev_yaml(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    path, _ = write_config(load_settings(data_dir=tmp_path))
    written, dev = yaml.safe_load(path.read_text()), yaml.safe_load(config_file("dev.yaml").read_text())
    del written["logging_config"]["log_level"]
    for application in dev["applications"]:
        application["args"] = {"version": application["args"]["version"]}
    assert written == dev
