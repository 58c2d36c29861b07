"""The skill `http.fetch`: the text of a public web page whose host SEEDCORE_FETCH_ALLOW names."""

import asyncio
import re

from pydantic import BaseModel, Field

from seedcore.errors import NotConfiguredError, SkillError
from seedcore.settings import get_settings
from seedcore.skills.builtin import _html
from seedcore.skills.builtin._addresses import AllowList
from seedcore.skills.builtin._guarded_http import Fetched, Fetcher
from seedcore.skills.skill_decorator import SkillContext, skill
from seedcore.telemetry.traces.run_trace import trace_headers

_TEXTUAL = re.compile(r"text/|application/([\w.+-]+\+)?(json|xml|javascript|yaml|x-yaml|ld\+json|x-ndjson)$")
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset=[\"']?([\w-]{1,40})", re.IGNORECASE)


class FetchParams(BaseModel):
    """What to fetch."""

    url: str = Field(min_length=1, max_length=2000)


class FetchedPage(BaseModel):
    """The page: `url` is the last one after redirects, `text` is what a reader sees of an HTML page."""

    text: str
    status: int
    content_type: str
    url: str


@skill("http.fetch", organ="utility", timeout_s=30)
async def http_fetch(params: FetchParams, context: SkillContext) -> FetchedPage:
    """Fetch a public web page as text.

    An HTTP status that is not a success fails the task: 5xx, 408, 425 and 429 are retried, others are not.
    """
    settings = get_settings()
    hosts = settings.fetch_hosts
    if not hosts:
        raise NotConfiguredError("http.fetch may not reach any host: name the allowed ones in SEEDCORE_FETCH_ALLOW.")
    # Ids of traces stay inside unless somebody wants them out.
    fetcher = Fetcher(AllowList(hosts), headers=trace_headers() if settings.trace_fetches else None)
    return await asyncio.to_thread(to_page, await fetcher.fetch(params.url))


def to_page(fetched: Fetched) -> FetchedPage:
    """The page as text.

    Raises:
        SkillError: it is not text.
    """
    kind = fetched.content_type.partition(";")[0].strip().lower()
    if not _TEXTUAL.match(kind):
        raise SkillError(f"{fetched.url} is {kind or 'of no stated type'}, which is not text.", retryable=False)
    is_html = kind in ("text/html", "application/xhtml+xml")
    text = _decoded(fetched, is_html)
    if is_html:
        text = _html.to_text(text)
    return FetchedPage(text=text, status=fetched.status, content_type=kind, url=fetched.url)


def _decoded(fetched: Fetched, is_html: bool) -> str:
    """The body, decoded by the character set that the page names, or UTF-8 without a known one."""
    named = re.search(r"charset=[\"']?([\w-]+)", fetched.content_type, re.IGNORECASE)
    name = named.group(1) if named else "utf-8-sig"
    if not named and is_html and (meta := _META_CHARSET.search(fetched.body[:2048])):
        name = meta.group(1).decode("ascii")
    try:
        return fetched.body.decode(name, errors="replace")
    except (LookupError, UnicodeError):
        return fetched.body.decode("utf-8", errors="replace")
