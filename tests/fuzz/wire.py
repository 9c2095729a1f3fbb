"""What any peer sends: HTTP heads and bodies, and WebSocket frames. Both mean the same however they are cut."""

from dataclasses import dataclass
from random import Random

from node.transport.frame_reader import PING, PONG, TEXT, Event, Fault, FrameReader
from node.transport.head import HttpLimits, RequestReader
from node.transport.message import BadRequestError, Request, UpgradeRequest
from tests.fuzz.damage import damaged_bytes, often, pieces, several
from tests.fuzz.target import Target
from tests.wire import BINARY, CLOSE, CONTINUATION, closing, masked, request, upgrade_head

LIMIT = 300
LIMITS = HttpLimits(head=500, target=200, body=400)
STATUSES = {400, 405, 413, 414, 417, 426, 431, 501, 505}

HEADERS = (
    *(
        "Connection: close",
        "Connection: keep-alive",
        "Connection: Upgrade",
        "Upgrade: h2c",
        "Expect: 100-continue",
        "Transfer-Encoding: chunked",
    ),
    *(
        "Content-Length: 3",
        "Content-Length: 0",
        "Content-Length: 99999999999999999999",
        "Content-Length: -1",
        "Content-Length: +3",
    ),
    *(
        "Upgrade: websocket",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding : chunked",
    ),
    *(
        "Host: other",
        "Sec-WebSocket-Version: 8",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "X: " + "y" * 200,
        "X-\xff: 1",
        " folded",
    ),
)
TARGETS_OF_REQUESTS = (
    "/",
    "/apps/1/events?a=b",
    "/app/key",
    "http://h/app/k?x",
    "*",
    "a:80",
    "/" + "x" * 199,
    "/%ff?%zz#f",
    "//",
    "?",
)
CHUNKS = (
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"0\r\nT: r\r\n\r\n",
    b"5;x=y\r\n\r\n\r\n\r\n\r\n",
    b"ffffffffffffffffff\r\n",
    b"-1\r\n",
    b"\r\n",
)
TEXTS = (
    b"",
    b"hello",
    "κόσμε €😀".encode(),
    b"x" * 125,
    b"x" * 126,
    b"x" * LIMIT,
    b"x" * (LIMIT + 1),
    b"\xff",
    b"\xf4\x90\x80\x80",
    b"\xed\xa0\x80",
    "é".encode() * (LIMIT // 2 + 1),
)
CLOSES = (
    b"",
    b"\x03",
    b"\x03\xe8",
    b"\x03\xe8bye",
    b"\x03\xed",
    b"\x0f\xa0",
    b"\x03\xe8\xff",
    b"\xff\xff",
    b"\x03\xf6",
    b"\x03\xe8" + b"r" * 123,
)


@dataclass(frozen=True, slots=True)
class Stream:
    """Bytes, and where they are cut."""

    pieces: list[bytes]

    @property
    def whole(self) -> bytes:
        """All of them."""
        return b"".join(self.pieces)


def make_requests(chance: Random) -> bytes:
    """A few requests in a row, damaged or not; perhaps the last one asks for a WebSocket."""
    stream = b""
    for _ in range(chance.choice((0, 1, 1, 2, 3))):
        method = chance.choice(
            ("GET", "POST", "POST", "HEAD") if often(chance, 0.9) else ("PUT", "CONNECT", "get", "PRI", "")
        )
        target = chance.choice(TARGETS_OF_REQUESTS[: 4 if often(chance, 0.8) else None])
        body = chance.choice((b"", b"", b"abc", b"x" * 400)) if often(chance, 0.9) else b"x" * 401
        headers = several(chance, HEADERS[: 6 if often(chance, 0.7) else None], 2)
        stream += request(method, target, body, *headers)
        if any("chunked" in header for header in headers):
            chunks = several(chance, CHUNKS[:1] if often(chance, 0.7) else CHUNKS, 3)
            stream += b"".join(chunks) + CHUNKS[1]
    if often(chance, 0.3):
        stream += upgrade_head("/app/key", *several(chance, HEADERS, 1))
    return damaged_bytes(chance, stream) if often(chance, 0.6) else stream


Meaning = tuple[list[Request | UpgradeRequest], bool]


def read_requests(parts: list[bytes]) -> Meaning:
    """What a reader makes of the parts: requests, and whether it refused what came after them."""
    reader = RequestReader(LIMITS)
    requests: list[Request | UpgradeRequest] = []
    try:
        for part in parts:
            reader.feed(part)
            while (found := reader.next_request()) is not None:
                requests.append(found)
                if isinstance(found, UpgradeRequest):
                    return requests, False
            reader.take_continue()
    except BadRequestError as error:
        assert error.status in STATUSES, error.status
        assert error.message
        return requests, True
    return requests, False


def check_requests(stream: Stream) -> None:
    """Requests within the limits, or refused; and the same whole and in pieces."""
    whole = read_requests([stream.whole])
    parts = read_requests(stream.pieces)
    assert [_meaning(found) for found in whole[0]] == [_meaning(found) for found in parts[0]]
    assert whole[1] == parts[1]
    for found in whole[0]:
        assert isinstance(found, UpgradeRequest) or len(found.body) <= LIMITS.body
        assert len(found.path) + len(found.query) <= LIMITS.target


def _meaning(found: Request | UpgradeRequest) -> object:
    return (found.path, found.query, found.headers, found.key) if isinstance(found, UpgradeRequest) else found


def make_frame(chance: Random) -> bytes:
    """One frame, mostly one that may come."""
    kind = chance.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10))
    mask = chance.choice((b"\0\0\0\0", b"mask", b"\xff\x80\1\0"))
    if kind < 4:
        return masked(TEXT, chance.choice(TEXTS), mask=mask)
    if kind < 7:
        cut = chance.choice(TEXTS)
        return masked(
            chance.choice((TEXT, CONTINUATION, CONTINUATION)),
            cut[: chance.randrange(len(cut) + 1)],
            final=often(chance, 0.4),
        )
    if kind < 9:
        return masked(chance.choice((PING, PONG)), chance.choice(TEXTS[:4]), mask=mask)
    if kind == 9:
        return masked(CLOSE, chance.choice(CLOSES)) if often(chance, 0.5) else closing(chance.randrange(990, 5010))
    return masked(
        chance.choice((TEXT, CONTINUATION, BINARY, CLOSE, PING, PONG, 3, 7, 11, 15)),
        chance.choice(TEXTS),
        final=often(chance, 0.7),
        reserved=chance.choice((0, 0, 1, 2, 4)),
        mask=chance.choice((b"mask", None)),
    )


def make_frames(chance: Random) -> bytes:
    """Some frames in a row."""
    stream = b"".join(make_frame(chance) for _ in range(chance.randrange(8)))
    return damaged_bytes(chance, stream) if often(chance, 0.4) else stream


def read_frames(parts: list[bytes]) -> tuple[list[Event], Fault | None]:
    """What a reader makes of the parts."""
    reader = FrameReader(LIMIT)
    return [event for part in parts for event in reader.feed(part)], reader.fault


def check_frames(stream: Stream) -> None:
    """Texts and control frames within their limits, then perhaps a documented fault; the same whole and in pieces."""
    events, fault = read_frames([stream.whole])
    assert read_frames(stream.pieces) == (events, fault)
    for opcode, payload in events:
        assert isinstance(payload, str) is (opcode == TEXT)
        assert len(payload.encode() if isinstance(payload, str) else payload) <= (LIMIT if opcode == TEXT else 125)
    assert fault is None or fault.code in {1002, 1003, 1007, 1009}


TARGETS = (
    Target("heads", lambda chance: Stream(pieces(chance, make_requests(chance))), check_requests),
    Target("frames", lambda chance: Stream(pieces(chance, make_frames(chance))), check_frames),
)
