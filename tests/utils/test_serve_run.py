"""The `serve run` above a worker, and whether its Ray is about to end."""

from types import SimpleNamespace

import psutil
import pytest
from ray import serve
from ray.serve.schema import ApplicationStatus

from seedcore.utils import serve_run


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        (["/v/bin/python", "/v/bin/serve", "run", "serve_config/dev.yaml"], True),
        (["serve", "run", "dev.yaml"], True),
        (["/v/bin/python", "/v/bin/serve", "deploy", "dev.yaml"], False),
        (["/v/bin/python", "-m", "seedcore.cli.launch.serve_child", "run", "dev.yaml"], False),
        (["/v/bin/ray", "start", "--head", "--block"], False),
    ],
)
def test_serve_run_is_known_by_its_command_line(command: list[str], meant: bool) -> None:
    assert serve_run.is_serve_run(command) is meant


def test_a_process_that_is_no_worker_of_ray_has_none_above_it() -> None:
    assert serve_run.serve_run_above() is None
    assert serve_run.ends_now() is False


@pytest.mark.parametrize(
    ("statuses", "ends"),
    [
        ([ApplicationStatus.DELETING, ApplicationStatus.DELETING], True),
        ([ApplicationStatus.DELETING, ApplicationStatus.RUNNING], False),
        ([ApplicationStatus.DEPLOYING, ApplicationStatus.RUNNING], False),
    ],
)
def test_a_ray_ends_when_all_its_applications_go(
    statuses: list[ApplicationStatus], ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    applications = {str(n): SimpleNamespace(status=status) for n, status in enumerate(statuses)}
    monkeypatch.setattr(serve, "status", lambda: SimpleNamespace(applications=applications))
    monkeypatch.setattr(serve_run, "serve_run_above", psutil.Process)
    assert serve_run.ends_now() is ends
