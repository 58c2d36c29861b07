"""Which traces are recorded."""

import os

import pytest

from seedcore.settings import load_settings
from seedcore.tasks.model import new_id
from seedcore.telemetry.traces.trace_sampling import TraceSampling


def sampling(name: str, ratio: float = 1.0) -> TraceSampling:
    return TraceSampling(load_settings(otel_traces_sampler=name, otel_traces_sampler_arg=ratio))


@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.5, 0.9])
def test_a_share_of_the_tasks_is_recorded_as_of_random_traces(ratio: float):
    chosen = sampling("traceidratio", ratio)
    n = 40_000
    for ids in ([new_id().int for _ in range(n)], [int.from_bytes(os.urandom(16), "big") for _ in range(n)]):
        share = sum(map(chosen.records, ids)) / n
        assert abs(share - ratio) < 5 * (ratio * (1 - ratio) / n) ** 0.5


def test_who_records_more_records_all_that_others_do():
    few, many = sampling("traceidratio", 0.1), sampling("traceidratio", 0.3)
    ids = [new_id().int for _ in range(10_000)]
    assert all(many.records(trace_id) for trace_id in ids if few.records(trace_id))


@pytest.mark.parametrize("caller_records", [True, False])
def test_a_caller_decides_where_the_sampler_is_parent_based(caller_records: bool):
    trace_id = new_id().int
    assert sampling("parentbased_always_off").follows(trace_id, caller_records) is caller_records
    assert sampling("parentbased_always_on").follows(trace_id, caller_records) is caller_records
    assert sampling("always_on").follows(trace_id, caller_records) is True
    assert sampling("always_off").follows(trace_id, caller_records) is False
