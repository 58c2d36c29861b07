"""How attempts of models' jobs are counted, and which errors may be retried."""

import pytest

from seedcore.errors import InvalidInputError, SkillError, UnavailableError
from seedcore.ml.job_outcomes import job_errors
from seedcore.telemetry.metrics import counter


@pytest.mark.parametrize(
    ("error", "outcome", "retryable"),
    [
        (UnavailableError("away"), "retried", True),
        (InvalidInputError("wrong"), "failed", False),
        (SkillError("no trial gave a score", retryable=False), "failed", False),
        (SkillError("the process died"), "retried", True),
    ],
)
def test_an_attempt_counts_as_retried_only_where_a_retry_may_succeed(
    error: Exception, outcome: str, retryable: bool, monkeypatch: pytest.MonkeyPatch
):
    counted: list[dict[str, str]] = []
    monkeypatch.setattr(
        type(counter("seedcore_model_jobs_total")), "add", lambda _self, _value, **labels: counted.append(labels)
    )
    with pytest.raises(SkillError) as caught, job_errors("train"):
        raise error
    assert caught.value.transient is retryable
    assert counted == [{"kind": "train", "outcome": outcome}]
