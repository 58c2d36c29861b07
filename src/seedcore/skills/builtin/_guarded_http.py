"""HTTP GET that cannot be tricked into reaching hosts that only this machine can reach.

The host must be on the allow-list, its addresses are resolved here and must all be public, and the connection goes to
the checked address, so that a second DNS answer changes nothing. TLS still verifies the host's name. Every redirect
passes the same checks. Proxies of the environment are not used: they would resolve the name again.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import httpcore
import httpx

from seedcore import __version__
from seedcore.errors import SkillError
from seedcore.skills.builtin import _addresses
from seedcore.skills.builtin._addresses import DEFAULT_PORTS, Address, AllowList

REDIRECTS = frozenset({301, 302, 303, 307, 308})
RETRYABLE = frozenset({408, 425, 429})
Resolve = Callable[[str, int], Awaitable[list[Address]]]


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bounds of one fetch."""

    max_bytes: int = 1024 * 1024
    seconds: float = 20.0
    redirects: int = 3


@dataclass(frozen=True, slots=True)
class Fetched:
    """A response: the URL after redirects, status, type and body."""

    url: str
    status: int
    content_type: str
    body: bytes


class Fetcher:
    """Fetches pages.

    Args:
        allow: the hosts it may reach.
        resolve: finds a host's addresses.
        is_public: says which addresses may be connected to.
        ssl_context: the certificate authorities that TLS trusts; the public ones when None.
        headers: more of them, for every host.
    """

    def __init__(
        self,
        allow: AllowList,
        *,
        resolve: Resolve = _addresses.resolve,
        is_public: Callable[[Address], bool] = _addresses.is_public,
        ssl_context: ssl.SSLContext | None = None,
        limits: FetchLimits | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.allow = allow
        self.resolve = resolve
        self.is_public = is_public
        self.limits = limits or FetchLimits()
        self._headers = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        self._ssl = ssl_context

    async def fetch(self, url: str) -> Fetched:
        """GET `url`.

        Raises:
            SkillError: retryable when the network or the server failed, not retryable when the request is refused.
        """
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await self._follow(self.checked(url))
        except TimeoutError:
            raise SkillError(f"{url} did not answer in {self.limits.seconds:g} s.", retryable=True) from None
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
            text = str(error) or type(error).__name__
            raise SkillError(f"{url} cannot be fetched: {text}.", retryable=True) from error

    def checked(self, url: str) -> httpx.URL:
        """The URL, if it may be fetched.

        Raises:
            SkillError: says why it is refused.
        """
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise _refused(f"{url!r} is not a URL: {error}.") from None
        if parsed.scheme not in DEFAULT_PORTS or not parsed.host:
            raise _refused(f"{url!r} must be an http:// or https:// URL with a host.")
        if parsed.userinfo:
            raise _refused("A URL with a user name or a password is not fetched.")
        port = _port(parsed)
        if not self.allow.allows(parsed.scheme, parsed.raw_host.decode("ascii"), port):
            raise _refused(f"{parsed.host}:{port} is not in SEEDCORE_FETCH_ALLOW ({', '.join(self.allow.entries)}).")
        return parsed

    async def addresses(self, host: str, port: int) -> list[Address]:
        """The checked addresses of a host; a single one that is not public refuses the host."""
        try:
            found = await self.resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise SkillError(f"The name {host!r} does not resolve: {error}.", retryable=True) from error
        bad = [address for address in found if not self.is_public(address)]
        if bad:
            raise _refused(f"{host!r} resolves to {bad[0]}, which is not a public address.")
        if not found:
            raise SkillError(f"The name {host!r} has no address.", retryable=True)
        return found

    async def _follow(self, url: httpx.URL) -> Fetched:
        context = self._ssl or _public_ssl()
        async with httpcore.AsyncConnectionPool(ssl_context=context, network_backend=_Backend(self)) as pool:
            for _ in range(self.limits.redirects + 1):
                answer = await self._get(pool, url)
                if isinstance(answer, Fetched):
                    return answer
                url = self.checked(str(url.join(answer)))
        raise _refused(f"More than {self.limits.redirects} redirects; the last one led to {url}.")

    async def _get(self, pool: httpcore.AsyncConnectionPool, url: httpx.URL) -> Fetched | str:
        """The page, or where it redirects to."""
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        headers = [
            (b"Host", url.netloc),
            (b"User-Agent", f"SeedCore/{__version__} (http.fetch)".encode()),
            (b"Accept", b"text/html,application/xhtml+xml,application/json,text/*;q=0.9,*/*;q=0.1"),
            (b"Accept-Encoding", b"identity"),
            *self._headers,
        ]
        async with pool.stream("GET", target, headers=headers) as response:
            found = {k.lower(): v.decode("latin-1") for k, v in response.headers}
            if response.status in REDIRECTS and b"location" in found:
                return found[b"location"]
            self._accept(url, response.status, found)
            body = await self._read(url, response)
        return Fetched(str(url), response.status, found.get(b"content-type", ""), body)

    def _accept(self, url: httpx.URL, status: int, headers: dict[bytes, str]) -> None:
        if not 200 <= status < 300:
            raise SkillError(f"{url} answered {status}.", retryable=status >= 500 or status in RETRYABLE)
        if headers.get(b"content-encoding", "identity").lower() not in ("identity", ""):
            raise _refused(f"{url} sent a compressed response, which is not accepted.")
        length = headers.get(b"content-length", "")
        if length.isdecimal() and int(length) > self.limits.max_bytes:
            raise self._too_large(url)

    async def _read(self, url: httpx.URL, response: httpcore.Response) -> bytes:
        parts, size = [], 0
        async for part in response.aiter_stream():
            size += len(part)
            if size > self.limits.max_bytes:
                raise self._too_large(url)
            parts.append(part)
        return b"".join(parts)

    def _too_large(self, url: httpx.URL) -> SkillError:
        return _refused(f"{url} is larger than {self.limits.max_bytes} bytes.")


class _Backend(httpcore.AsyncNetworkBackend):
    """Opens connections to checked addresses only."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: "Iterable[httpcore.SOCKET_OPTION] | None" = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception | None = None
        for address in await self._fetcher.addresses(host, port):
            try:
                return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure

    async def connect_unix_socket(self, *_args: object, **_kwargs: object) -> httpcore.AsyncNetworkStream:
        raise _refused("Unix sockets are not allowed.")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


def _port(url: httpx.URL) -> int:
    return url.port or DEFAULT_PORTS[url.scheme]


def _refused(detail: str) -> SkillError:
    return SkillError(detail, retryable=False)


@lru_cache(maxsize=1)
def _public_ssl() -> ssl.SSLContext:
    return httpcore.default_ssl_context()
