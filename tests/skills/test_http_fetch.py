"""Against real servers on loopback: the guard gets its own idea of a public address, and a resolver that knows them."""

import asyncio
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest

from seedcore.errors import NotConfiguredError, SkillError
from seedcore.settings import get_settings
from seedcore.skills.builtin._addresses import Address, AllowList, is_public
from seedcore.skills.builtin._guarded_http import Fetched, Fetcher, FetchLimits
from seedcore.skills.builtin.http_fetch import FetchParams as Params
from seedcore.skills.builtin.http_fetch import http_fetch, to_page

LOOPBACK = ip_address("127.0.0.1")
OWN = """
    127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 240.0.0.1
    255.255.255.255 192.0.0.8 192.0.2.1 198.18.0.1 198.51.100.7 203.0.113.9 192.88.99.1 :: ::1 fe80::1 fc00::1
    fd12::1 ff02::1 fec0::1 2001:db8::1 100::1 2001:0:1::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1
    64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1:: 2002:a00:1::
"""


@dataclass
class Site:
    """A server that answers each path with bytes of its own."""

    port: int = 0
    pages: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    stream: Callable[[asyncio.StreamWriter], Awaitable[None]] | None = None

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            path = head[0].split()[1]
            self.asked.append((path, dict(line.lower().split(": ", 1) for line in head[1:] if line)))
            if path == "/stream" and self.stream is not None:
                await self.stream(writer)
            else:
                writer.write(self.pages.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            return
        finally:
            writer.close()


def page(body: bytes, kind: str = "text/plain", extra: str = "", status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def redirect(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.fixture
async def site(starts_server: None) -> AsyncIterator[Site]:
    made = Site()
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


def resolver(table: dict[str, list[Address]]):
    async def resolve(host: str, _port: int) -> list[Address]:
        if host not in table:
            raise OSError("unknown name")
        return table[host]

    return resolve


def fetcher(site: Site, **changes) -> Fetcher:
    given = {
        "resolve": resolver({"site.test": [LOOPBACK], "other.test": [ip_address("10.0.0.5")]}),
        "is_public": lambda a: a == LOOPBACK,
    } | changes
    return Fetcher(AllowList((f"site.test:{site.port}", "other.test")), **given)


async def refused(fetching: Awaitable[Fetched], says: str) -> None:
    with pytest.raises(SkillError, match=says) as caught:
        await fetching
    assert not caught.value.transient


async def test_a_page_comes_with_its_status_type_and_url(site: Site):
    site.pages["/a?b=c"] = page("grüße".encode(), "text/plain; charset=utf-8")
    found = await fetcher(site).fetch(f"http://site.test:{site.port}/a?b=c#part")
    assert to_page(found).model_dump() == {
        "text": "grüße",
        "status": 200,
        "content_type": "text/plain",
        "url": f"http://site.test:{site.port}/a?b=c#part",
    }
    assert site.asked[0][1]["host"] == f"site.test:{site.port}"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://site.test/",
        "file:///etc/passwd",
        "http://",
        "nonsense",
        "http://user:secret@site.test/",
        "http://elsewhere.test/",
        "http://site.test/",
        "http://[::1",
    ],
)
async def test_urls_that_are_not_allowed_are_refused_before_any_connection(site: Site, url: str):
    with pytest.raises(SkillError) as caught:
        await fetcher(site).fetch(url)
    assert not caught.value.transient
    assert "secret" not in caught.value.detail
    assert site.asked == []


async def test_a_host_whose_address_is_not_public_is_refused(site: Site):
    await refused(fetcher(site).fetch("http://other.test/"), "10.0.0.5, which is not a public address")
    both = fetcher(site, resolve=resolver({"other.test": [LOOPBACK, ip_address("169.254.169.254")]}))
    await refused(both.fetch("http://other.test/"), "169.254.169.254")
    real = fetcher(site, is_public=is_public)
    await refused(real.fetch(f"http://site.test:{site.port}/"), "127.0.0.1")
    assert site.asked == []


async def test_the_name_is_resolved_once_and_the_checked_address_is_used(site: Site):
    """A name server that answers otherwise the second time gains nothing."""
    site.pages["/"] = page(b"ok")
    answers = [[LOOPBACK], [ip_address("10.0.0.5")]]

    async def rebinding(_host: str, _port: int) -> list[Address]:
        return answers.pop(0)

    found = await fetcher(site, resolve=rebinding).fetch(f"http://site.test:{site.port}/")
    assert found.body == b"ok"
    assert len(answers) == 1


async def test_redirects_are_followed_and_each_is_checked(site: Site):
    site.pages |= {"/a": redirect("/b"), "/b": redirect(f"http://site.test:{site.port}/c"), "/c": page(b"end")}
    found = await fetcher(site).fetch(f"http://site.test:{site.port}/a")
    assert (found.body, found.url) == (b"end", f"http://site.test:{site.port}/c")
    for target, says in [
        ("http://other.test/", "not a public address"),
        ("http://169.254.169.254/latest", "SEEDCORE_FETCH_ALLOW"),
        ("file:///etc/passwd", "http"),
        ("//[::1]/", "SEEDCORE_FETCH_ALLOW"),
    ]:
        site.pages["/a"] = redirect(target)
        await refused(fetcher(site).fetch(f"http://site.test:{site.port}/a"), says)


async def test_redirects_end_after_three(site: Site):
    site.pages |= {f"/{i}": redirect(f"/{i + 1}") for i in range(9)}
    await refused(fetcher(site).fetch(f"http://site.test:{site.port}/0"), "More than 3 redirects")
    assert len(site.asked) == 4


async def test_a_page_over_the_limit_is_refused_whether_announced_or_not(site: Site):
    small = fetcher(site, limits=FetchLimits(max_bytes=1000))
    site.pages["/"] = page(b"x" * 1001)
    await refused(small.fetch(f"http://site.test:{site.port}/"), "larger than 1000")

    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"y" * 10_000)
            await writer.drain()
            await asyncio.sleep(0.001)

    site.stream = endless
    await refused(small.fetch(f"http://site.test:{site.port}/stream"), "larger than 1000")


async def test_a_page_that_drips_for_ever_ends_at_the_time_limit(site: Site):
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while not writer.is_closing():
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.02)

    site.stream = drip
    begun = time.monotonic()
    with pytest.raises(SkillError, match=r"did not answer in 0\.3 s") as caught:
        await fetcher(site, limits=FetchLimits(seconds=0.3)).fetch(f"http://site.test:{site.port}/stream")
    assert caught.value.transient
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize(
    ("status", "retryable"), [("404 Not Found", False), ("403 No", False), ("429 Slow", True), ("503 Later", True)]
)
async def test_a_status_that_is_no_success_fails_the_task(site: Site, status: str, retryable: bool):
    site.pages["/"] = page(b"sorry", status=status)
    with pytest.raises(SkillError, match=status[:3]) as caught:
        await fetcher(site).fetch(f"http://site.test:{site.port}/")
    assert caught.value.transient is retryable


async def test_network_faults_are_worth_another_attempt(site: Site):
    for url, resolve in [
        ("http://other.test/", resolver({})),
        ("http://other.test/", resolver({"other.test": []})),
    ]:
        with pytest.raises(SkillError) as caught:
            await fetcher(site, resolve=resolve).fetch(url)
        assert caught.value.transient
    site.pages["/"] = b"garbage\r\n\r\n"
    with pytest.raises(SkillError) as caught:
        await fetcher(site).fetch(f"http://site.test:{site.port}/")
    assert caught.value.transient


async def test_the_second_address_is_tried_when_the_first_does_not_answer(site: Site):
    site.pages["/"] = page(b"ok")
    two = resolver({"site.test": [ip_address("127.0.0.99"), LOOPBACK]})
    closed = await asyncio.start_server(lambda *_: None, "127.0.0.99", 0)
    closed.close()
    found = await fetcher(site, resolve=two, is_public=lambda _a: True).fetch(f"http://site.test:{site.port}/")
    assert found.body == b"ok"


async def test_a_compressed_answer_that_nobody_asked_for_is_refused(site: Site):
    site.pages["/"] = page(b"\x1f\x8b", extra="Content-Encoding: gzip\r\n")
    await refused(fetcher(site).fetch(f"http://site.test:{site.port}/"), "compressed")
    assert site.asked[0][1]["accept-encoding"] == "identity"


async def test_proxies_of_the_environment_are_not_used(site: Site, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    site.pages["/"] = page(b"ok")
    assert (await fetcher(site).fetch(f"http://site.test:{site.port}/")).body == b"ok"


@pytest.mark.integration
async def test_tls_proves_the_name_although_the_address_was_chosen_here(tmp_path: Path):
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl program to make a certificate")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=site.test -addext subjectAltName=DNS:site.test"
    )
    subprocess.run([*command.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(cert, key)
    names: list[str | None] = []
    serving.sni_callback = lambda _socket, name, _context: names.append(name)
    site = Site(pages={"/": page(b"ok")})
    server = await asyncio.start_server(site.handle, "127.0.0.1", 0, ssl=serving)
    site.port = server.sockets[0].getsockname()[1]
    allow = AllowList((f"site.test:{site.port}", f"evil.test:{site.port}"))
    resolve = resolver({"site.test": [LOOPBACK], "evil.test": [LOOPBACK]})
    trusting = Fetcher(
        allow, resolve=resolve, is_public=lambda _a: True, ssl_context=ssl.create_default_context(cafile=str(cert))
    )
    assert (await trusting.fetch(f"https://site.test:{site.port}/")).body == b"ok"
    assert names == ["site.test"]
    with pytest.raises(SkillError, match=r"(?i)certificate"):
        await trusting.fetch(f"https://evil.test:{site.port}/")
    strangers = Fetcher(allow, resolve=resolve, is_public=lambda _a: True)
    with pytest.raises(SkillError, match=r"(?i)certificate"):
        await strangers.fetch(f"https://site.test:{site.port}/")
    server.close()


@pytest.mark.parametrize(
    "address",
    OWN.split(),
)
def test_no_address_of_ones_own_is_public(address: str):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_public(address: str):
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        (("https", "example.org", 443), True),
        (("https", "EXAMPLE.org.", 443), True),
        (("https", "example.org", 8443), False),
        (("http", "example.org", 443), False),
        (("https", "sub.example.org", 443), False),
        (("https", "a.b.example.com", 443), True),
        (("https", "example.com", 443), False),
        (("https", "evilexample.com", 443), False),
        (("https", "example.com.evil.net", 443), False),
        (("http", "local.net", 8080), True),
        (("http", "local.net", 80), False),
    ],
)
def test_the_allow_list_names_hosts_domains_and_ports(url, allowed):
    assert AllowList(("example.org", "*.example.com", "local.net:8080")).allows(*url) is allowed


def test_html_becomes_the_text_that_a_reader_sees():
    body = b"""<html><head><title>T</title><style>p {}</style><script>if (a < b) {}</script></head>
    <body><h1>Head</h1><p>One &amp; <b>two</b>
    three<br>four</p><noscript>no</noscript><ul><li>a<li>b</ul><table><tr><td>x</td><td>y</td></table></body>"""
    text = to_page(Fetched("http://x/", 200, "text/html; charset=utf-8", body)).text
    assert text == "T\n\nHead\n\nOne & two three\nfour\n\na\nb\n\nx y"


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("text/plain; charset=latin-1", "grüße".encode("latin-1"), "grüße"),
        ("text/plain", b"\xef\xbb\xbfbom", "bom"),
        ("text/plain; charset=no-such", "ü".encode(), "ü"),
        ("text/plain; charset=hex", b"6162", "6162"),
        ("text/html", b"<meta charset='iso-8859-1'><p>\xfc", "ü"),
        ("application/json", b'{"a": 1}', '{"a": 1}'),
        ("application/ld+json", b"{}", "{}"),
    ],
)
def test_text_is_read_in_its_character_set(kind: str, body: bytes, text: str):
    assert to_page(Fetched("http://x/", 200, kind, body)).text == text


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", ""])
def test_what_is_no_text_is_refused(kind: str):
    with pytest.raises(SkillError, match="not text") as caught:
        to_page(Fetched("http://x/", 200, kind, b"\x00"))
    assert not caught.value.transient


async def test_an_empty_allow_list_names_the_setting():
    with pytest.raises(NotConfiguredError, match="SEEDCORE_FETCH_ALLOW"):
        await http_fetch(Params(url="http://example.org/"), None)


async def test_the_skill_itself_refuses_loopback_even_when_it_is_allowed(site: Site, monkeypatch):
    monkeypatch.setenv("SEEDCORE_FETCH_ALLOW", f"127.0.0.1:{site.port},localhost:{site.port}")
    get_settings.cache_clear()
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(SkillError, match="not a public address") as caught:
            await http_fetch(Params(url=f"http://{host}:{site.port}/"), None)
        assert not caught.value.transient
    assert site.asked == []
