"""No claim without a living cluster: what is claimed while its control is away cannot begin, and would only be lost."""

import asyncio
from collections.abc import Callable
from typing import Any

from seedcore.worker.ports import Cluster

LOOK_EVERY_S = 1.0


class Guard:
    """Looks whether the cluster lives; `silent` says why nothing may be claimed, None: all is well.

    Args:
        cluster: None: there is none to look after, and everything may be claimed.
        log: gets what changes.
        changed: called when claims may go on.
    """

    def __init__(self, cluster: Cluster | None, log: Any, changed: Callable[[], object]) -> None:
        self._cluster, self._log, self._changed = cluster, log, changed
        self.silent: str | None = None if cluster is None else "not asked yet"

    async def run(self) -> None:
        """Look again and again, until it is cancelled."""
        while self._cluster is not None:
            await self.look(self._cluster)
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self, cluster: Cluster) -> None:
        """Look once."""
        before = self.silent
        try:
            self.silent = await cluster.silence()
        except Exception as error:  # noqa: BLE001 - who cannot be asked does not answer
            self.silent = f"{type(error).__name__}: {error}"
        if self.silent is None and before is not None:
            self._changed()
        if self.silent is not None and before is None:
            self._log.error("the cluster's control is silent: nothing is claimed until it answers", reason=self.silent)
        elif self.silent is None and before not in (None, "not asked yet"):
            self._log.warning("the cluster's control answers again: claiming goes on")
