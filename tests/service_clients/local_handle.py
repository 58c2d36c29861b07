"""A Serve handle of a service that runs in the test's own process."""

from typing import Protocol


class Service(Protocol):
    async def invoke(self, path: str, payload: object = None) -> object: ...


class LocalHandle:
    """Hand it to a client as `client._handle`: its calls reach `service` without Ray."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.invoke = self

    async def remote(self, path: str, payload: object) -> object:
        return await self._service.invoke(path, payload)
