"""Stops claims while the cluster's control does not answer: what is claimed then cannot begin, and would be lost."""

import asyncio
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from seedcore.worker.ports import Cluster

CHECK_EVERY_S = 1.0
NOT_ASKED = "not asked yet"


class ClusterGuard:
    """Checks whether the cluster answers; `silent` says why nothing may be claimed, None: claims may go on.

    Args:
        cluster: None: there is none to check, and everything may be claimed.
        log: where changes are logged.
        changed: called when claims may go on.
    """

    def __init__(self, cluster: Cluster | None, log: FilteringBoundLogger, changed: Callable[[], object]) -> None:
        self._cluster, self._log, self._changed = cluster, log, changed
        self.silent: str | None = None if cluster is None else NOT_ASKED

    async def run(self) -> None:
        """Check until it is cancelled."""
        while self._cluster is not None:
            await self.check(self._cluster)
            await asyncio.sleep(CHECK_EVERY_S)

    async def check(self, cluster: Cluster) -> None:
        """Check once."""
        before = self.silent
        try:
            self.silent = await cluster.silence()
        except Exception as error:  # noqa: BLE001 - what cannot be asked does not answer
            self.silent = f"{type(error).__name__}: {error}"
        if self.silent is None and before is not None:
            self._changed()
        if self.silent is not None and before is None:
            self._log.error("cluster control does not answer, claiming nothing", reason=self.silent)
        elif self.silent is None and before not in (None, NOT_ASKED):
            self._log.warning("cluster control answers again, claiming")
