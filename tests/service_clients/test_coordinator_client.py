"""The Coordinator's client: a report waits no longer than the client does."""

from typing import Any

from seedcore.schemas.snapshot import WorkerReport, WorkerReportJson
from seedcore.service_clients.coordinator_client import CoordinatorClient
from seedcore.settings import Settings

from .local_handle import LocalHandle


class Replica:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, WorkerReport]] = []

    async def invoke(self, path: str, payload: object = None) -> object:
        self.asked.append((path, WorkerReport.model_validate(payload)))
        return {"heard": 1}


def report(wait_s: float) -> WorkerReportJson:
    lists: dict[str, Any] = {name: [] for name in ("outstanding", "outcomes", "spent", "energy", "streams")}
    counts: dict[str, Any] = dict.fromkeys(
        ("generation", "version", "unplanned", "dropped", "plans", "plans_wanted"), 0
    )
    named: dict[str, Any] = {"asker": "w1", "session": "s1", "number": 1, "decided": {}, "rule_failures": {}}
    return WorkerReportJson(**named, **lists, **counts, wait_s=wait_s)


async def test_a_report_waits_for_half_of_the_timeout_at_most(settings: Settings):
    client, replica = CoordinatorClient(settings, timeout_s=4.0), Replica()
    client._handle = LocalHandle(replica)
    for wait_s in (1.0, 5.0):
        assert await client.exchange(report(wait_s)) == {"heard": 1}
    assert [(path, asked.wait_s) for path, asked in replica.asked] == [("/exchange", 1.0), ("/exchange", 2.0)]
