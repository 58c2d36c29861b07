"""Server-sent events, whatever pieces they come in."""

import itertools
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedcore.client.sse_reader import MAX_EVENT_BYTES, SseMessage, SseParser
from seedcore.web.sse import encode_stream

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
# One line of a stream, or the end of an event, as anybody may send them.
LINE = st.one_of(
    st.just(""),
    st.just(": ping"),
    st.sampled_from(["data", "data:", "id: 7", "event: started", "retry: 5", "unknown: x", "id: a\0b"]),
    TEXT.filter(lambda t: not set(t) & set("\r\n")).map("data: {}".format),
)


def parsed(pieces: Iterable[bytes]) -> list[SseMessage]:
    parser = SseParser()
    return [message for piece in pieces for message in parser.feed(piece)]


def in_pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


def by_the_letter(lines: list[str]) -> list[SseMessage]:
    """The standard's own algorithm, on lines that are already apart."""
    found, data, name, last = [], [], "", ""
    for line in lines:
        if not line:
            if data:
                found.append(SseMessage(last, name or "message", "\n".join(data)))
            data, name = [], ""
            continue
        field, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value
        elif field == "id" and "\0" not in value:
            last = value
    return found


@settings(deadline=None)
@given(st.lists(st.tuples(LINE, st.sampled_from(["\n", "\r\n", "\r"])), max_size=30), st.lists(st.integers(0, 500)))
def test_pieces_do_not_matter(lines: list[tuple[str, str]], cuts: list[int]):
    # A carriage return and a line feed of two lines would be one end of a line.
    ends = [
        "\n" if end == "\r" and n + 1 < len(lines) and lines[n + 1] == ("", "\n") else end
        for n, (_, end) in enumerate(lines)
    ]
    # The last line's end may be half of another: one more line settles it.
    text = "".join(line + end for (line, _), end in zip(lines, ends, strict=True)) + ": end\n"
    assert parsed(in_pieces(text.encode(), cuts)) == by_the_letter([line for line, _ in lines])


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 2**62), st.dictionaries(TEXT, TEXT, max_size=3)), max_size=5), st.integers(1, 9)
)
async def test_what_seedcore_sends_is_read(events: list[tuple[int, dict[str, Any]]], size: int):
    async def source() -> AsyncIterator[dict[str, Any]]:
        for number, data in events:
            yield {"id": number, "event": "progress", "data": data}

    stream = b"".join([piece async for piece in encode_stream(source())])
    got = parsed(stream[n : n + size] for n in range(0, len(stream), size))
    assert [(int(m.id), json.loads(m.data)) for m in got] == events


def test_a_byte_order_mark_is_skipped():
    assert parsed([b"\xef\xbb\xbfdata: 1\n\n"]) == [SseMessage("", "message", "1")]


def test_an_event_that_is_cut_off_is_dropped():
    assert parsed([b"id: 1\ndata: a\n\nid: 2\ndata: b\n"]) == [SseMessage("1", "message", "a")]


@pytest.mark.parametrize("piece", [b"x" * 65_536, b"data: " + b"x" * 65_500 + b"\n"])
def test_an_event_has_a_bound(piece: bytes):
    with pytest.raises(ValueError, match=str(MAX_EVENT_BYTES)):
        parsed([piece] * (MAX_EVENT_BYTES // len(piece) + 1))
