"""Requests from bytes, however they are split."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.transport.head import HttpLimits, RequestReader
from node.transport.message import BadRequestError, Message, Request, UpgradeRequest
from tests.wire import request, upgrade_head

STATUSES = {400, 405, 413, 414, 417, 426, 431, 501, 505}
CHUNKED = "Transfer-Encoding: chunked"
STREAM = (
    request("POST", "/one?a=b", b"\n\r\n\r\n", "X: y")
    + b"\r\n"
    + request("POST", "/two", b"", CHUNKED)
    + b"3;e=f\r\n\n\r\n\r\n2\r\n\r\n\r\n0\r\n\r\n"
    + request("POST", "/three", b"", CHUNKED)
    + b"1\r\nz\r\n0\r\nT: u\r\nV: w\r\n\r\n"
    + request("POST", "/four", b"h2c", "Connection: Upgrade", "Upgrade: h2c")
    + request("POST", "/chunked", b"", "Connection: Upgrade", "UpGrade: h2c", CHUNKED)
    + b"3\r\nh2c\r\n0\r\n\r\n"
    + request("GET", "http://node.example/five?q")
    + request("GET", "http://node.example?q")
    + upgrade_head("/app/k?p=7")
    + b"\x81\x80rest"
)


def read_all(parts: Iterable[bytes], limits: HttpLimits | None = None) -> list[Request | UpgradeRequest]:
    """What a reader makes of these parts. It stops at an upgrade, whose rest then is what came after."""
    reader, rest = RequestReader(limits or HttpLimits()), list[bytes]()
    events: list[Request | UpgradeRequest] = []
    for part in parts:
        if events and isinstance(events[-1], UpgradeRequest):
            rest.append(part)
            continue
        reader.feed(part)
        while (event := reader.next_request()) is not None:
            events.append(event)
            if isinstance(event, UpgradeRequest):
                rest.append(event.rest)
                break
    assert b"".join(rest) in {b"", b"\x81\x80rest"}
    return events


def summary(events: list[Request | UpgradeRequest]) -> list[tuple[str, str, bytes]]:
    """What matters of each."""
    return [(e.path, e.query, e.body if isinstance(e, Request) else b"upgrade") for e in events]


WHOLE = [
    ("/one", "a=b", b"\n\r\n\r\n"),
    ("/two", "", b"\n\r\n\r\n"),
    ("/three", "", b"z"),
    ("/four", "", b"h2c"),
    ("/chunked", "", b"h2c"),
    ("/five", "q", b""),
    ("/", "q", b""),
    ("/app/k", "p=7", b"upgrade"),
]


def test_reader_finds_all_requests_when_they_come_at_once() -> None:
    """Bodies with a length, chunked ones, absolute targets, offers of other protocols, and an upgrade at the end."""
    assert summary(read_all([STREAM])) == WHOLE


def test_reader_finds_all_requests_when_bytes_come_one_at_a_time() -> None:
    """The same, byte by byte."""
    assert summary(read_all(STREAM[i : i + 1] for i in range(len(STREAM)))) == WHOLE


@pytest.mark.parametrize("cut", range(0, len(STREAM), 3))
def test_reader_finds_all_requests_when_they_are_cut_anywhere(cut: int) -> None:
    """The same, in two or three parts."""
    assert summary(read_all([STREAM[:cut], STREAM[cut : cut + 2], STREAM[cut + 2 :]])) == WHOLE


def test_reader_is_idle_only_between_requests() -> None:
    """Blank lines are nothing; a first byte is something; a head without its body still is."""
    reader = RequestReader(HttpLimits())
    whole = request("POST", "/", b"xy")
    for part, idle in ((b"\r\n", True), (whole[:1], False), (whole[1:-1], False)):
        reader.feed(part)
        assert reader.next_request() is None
        assert reader.idle == idle
    reader.feed(whole[-1:])
    assert isinstance(reader.next_request(), Request)
    assert reader.idle


@pytest.mark.parametrize("split", [False, True])
def test_reader_allows_exactly_its_limits(split: bool) -> None:
    """Head, target and body at their limits pass; one byte more does not."""
    whole = request("POST", "/" + "t" * 49, b"x" * 30)
    limits = HttpLimits(head=len(whole) - 30, target=50, body=30)

    def read(data: bytes, limits: HttpLimits) -> list[Request | UpgradeRequest]:
        return read_all([data[i : i + 1] for i in range(len(data))] if split else [data], limits)

    assert len(read(whole, limits)) == 1
    for limit, status in (
        (HttpLimits(limits.head - 1, 50, 30), 431),
        (HttpLimits(limits.head, 49, 30), 414),
        (HttpLimits(limits.head, 50, 29), 413),
    ):
        with pytest.raises(BadRequestError) as caught:
            read(whole, limit)
        assert caught.value.status == status


def test_reader_tells_once_when_a_client_waits_to_continue() -> None:
    """Not before the head is there, not once some body came, and not to HTTP/1.0."""
    reader = RequestReader(HttpLimits())
    head = request("POST", "/", b"x", "Expect: 100-Continue")[:-1]
    reader.feed(head[:-1])
    assert reader.next_request() is None
    assert not reader.take_continue()
    reader.feed(head[-1:])
    assert reader.next_request() is None
    assert [reader.take_continue(), reader.take_continue()] == [True, False]
    partly = RequestReader(HttpLimits())
    partly.feed(request("POST", "/", b"xy", "Expect: 100-continue")[:-1])
    assert partly.next_request() is None
    assert not partly.take_continue()
    old = RequestReader(HttpLimits())
    old.feed(head.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert old.next_request() is None
    assert not old.take_continue()


def test_message_is_refused_when_another_one_follows_in_its_bytes() -> None:
    """Were a slice ever to reach past the end of a chunked body, it would be noticed."""
    message = Message()
    with pytest.raises(BadRequestError):
        message.feed(request("POST", "/", b"", CHUNKED) + b"0\r\n\r\n" + request("GET", "/"))


pieces = st.lists(
    st.sampled_from(
        [
            *(b"GET ", b"POST ", b"/", b" HTTP/1.1\r\n", b"Host: a\r\n", b"\r\n", b"\n", b"0\r\n\r\n", b"5\r\nabcde\r\n"),
            *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: Upgrade\r\n", b"abcde"),
            *(b"Upgrade: websocket\r\n", b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n", upgrade_head()),
        ]
    )
    | st.binary(max_size=5),
    max_size=20,
)


@given(pieces, st.integers(1, 40))
def test_reader_reads_or_raises_its_error_whatever_comes(parts: list[bytes], step: int) -> None:
    """Any bytes, split anyhow, are requests or a documented error, and the split makes no difference."""
    data = b"".join(parts)
    assert outcome_of(data, step) == outcome_of(data, len(data) or 1)


def outcome_of(data: bytes, step: int) -> list[object]:
    """What a reader with small limits makes of these bytes: requests, and at the end perhaps an upgrade or a refusal."""
    reader, events = RequestReader(HttpLimits(head=300, target=50, body=50)), list[object]()
    try:
        for i in range(0, len(data), step):
            reader.feed(data[i : i + step])
            while isinstance(event := reader.next_request(), Request):
                events.append(event)
            if event is not None:
                return [*events, (event.path, event.key)]
    except BadRequestError as error:
        return [*events, "refused" if error.status in STATUSES else error.status]
    return events
