"""One HTTP/1.1 request: its parts, what is wrong with it, and how it is parsed. Pure.

`Message` is what httptools calls back while `head.RequestReader` feeds it; `Request` and `UpgradeRequest` are what comes
out. `BadRequestError` is the only error of this module and of the reader.

Rules for whoever edits this file: be strict. Whatever this node and a proxy in front of it could understand
differently (two lengths, two hosts, folded headers, a body on an upgrade) is refused, as that is how requests are
smuggled. Error messages never repeat what the client sent.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence

import httptools
import msgspec

_ABSOLUTE = re.compile(r"^https?://[^/?]*", re.IGNORECASE)


class BadRequestError(Exception):
    """A request that cannot be served: answer with `status` and the message, then close the connection."""

    def __init__(self, status: int, message: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


class Request(msgspec.Struct, frozen=True, gc=False):
    """One complete request. Path and query are as received; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    keep_alive: bool
    """Whether the client may send another request after the answer."""


class UpgradeRequest(msgspec.Struct, frozen=True, gc=False):
    """A correct request for a WebSocket (RFC 6455 4.2.1). The reader has nothing more to say after it."""

    path: str
    query: str
    headers: Mapping[str, str]
    key: str
    """Sec-WebSocket-Key: 16 bytes in base64."""
    rest: bytes
    """What came after the head: the client's first frames, or a part of them."""


class Message:
    """One request while it is read: what httptools calls back, and what it means."""

    __slots__ = (
        "_head_complete",
        "_headers",
        "_keep_alive",
        "_method",
        "_parser",
        "_version",
        "body",
        "complete",
        "expects_continue",
        "framing",
        "is_websocket",
        "target",
        "upgrading",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._headers: dict[str, str] = {}
        self._head_complete = False
        self._keep_alive = False
        self._method = ""
        self._version = ""
        self.is_websocket = False
        """Whether the complete head asks for a WebSocket, correctly or not."""
        self.target = b""
        self.body = bytearray()
        self.complete = False
        self.upgrading = False
        self.expects_continue = False
        self.framing = 0

    def feed(self, data: bytes | bytearray) -> None:
        """Parse more of the head, or of a chunked body. Raises BadRequestError."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.upgrading = True
            self.is_websocket = "websocket" in _tokens(self._headers.get("upgrade", ""))
        except httptools.HttpParserError as error:
            raise _unreadable(str(error)) from None

    def on_message_begin(self) -> None:
        """Another request must not begin in this one's bytes: slices end where a body ends."""
        if self.complete:
            raise ValueError

    def on_url(self, part: bytes) -> None:
        """A part of the target."""
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer, which nobody asked for."""
        if self._head_complete:
            return
        key, text = name.decode("ascii").lower(), value.decode("latin-1")
        known = self._headers.get(key)
        self._headers[key] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        """The blank line was seen. What the parser knows of the connection must be asked now: it forgets."""
        self._head_complete = True
        self._keep_alive = self._parser.should_keep_alive()
        self._method = self._parser.get_method().decode("ascii")
        self._version = self._parser.get_http_version()

    def on_body(self, part: bytes) -> None:
        """A part of a chunked body."""
        self.body += part

    def on_message_complete(self) -> None:
        """The last chunk was seen; or the head, where no body follows."""
        self.complete = True

    @property
    def chunked(self) -> bool:
        """Whether the body has chunks instead of a length."""
        return "transfer-encoding" in self._headers

    @property
    def length(self) -> int:
        """Bytes of the body, where it is not chunked. The parser has checked the digits."""
        return int(self._headers.get("content-length") or 0)

    def check_head(self) -> None:
        """Refuse what HTTP/1.1 forbids or this server does not do, now that the head is complete."""
        if not self._head_complete:
            raise _unreadable("the head ends early")
        version = self._version
        if version not in {"1.0", "1.1"}:
            raise BadRequestError(505, "This is an HTTP/1.1 server. Send the request with HTTP/1.1.")
        if self._method == "CONNECT":
            raise BadRequestError(405, "This is no proxy. Send GET or POST with a path.", (("Allow", "GET, POST"),))
        host = self._headers.get("host")
        if (host is None and version == "1.1") or (host is not None and "," in host):
            raise BadRequestError(400, "A request needs exactly one Host header.")
        self._check_framing()
        if self.is_websocket:
            self._check_upgrade()

    def _check_framing(self) -> None:
        if self.chunked:
            self._check_coding()
        expected = self._headers.get("expect")
        if expected is None:
            return
        if expected.lower() != "100-continue":
            raise BadRequestError(417, "The only expectation met here is 100-continue. Leave the Expect header out.")
        self.expects_continue = self._version == "1.1"

    def _check_coding(self) -> None:
        if self._version == "1.0":
            raise BadRequestError(400, "HTTP/1.0 has no chunked bodies. Send Content-Length.")
        if self._headers["transfer-encoding"].strip().lower() != "chunked":
            raise BadRequestError(501, "The only transfer coding here is chunked. Send Content-Length or chunked.")

    def _check_upgrade(self) -> None:
        if self._method != "GET" or self._version != "1.1" or self.chunked or self.length:
            raise BadRequestError(400, "A WebSocket is asked for with GET, HTTP/1.1 and no body.")
        if self._headers.get("sec-websocket-version") != "13":
            raise BadRequestError(426, "Send Sec-WebSocket-Version: 13 (RFC 6455).", (("Sec-WebSocket-Version", "13"),))
        if not _is_websocket_key(self._headers.get("sec-websocket-key", "")):
            raise BadRequestError(400, "Send one Sec-WebSocket-Key of 16 bytes in base64 (RFC 6455).")

    def to_request(self) -> Request:
        """The request, whose body is complete. This object is of no further use."""
        path, query = _split_target(self.target)
        self._let_go()
        return Request(self._method, path, query, self._headers, bytes(self.body), self._keep_alive)

    def to_upgrade(self, rest: bytes) -> UpgradeRequest:
        """The request for a WebSocket, whose head was checked. This object is of no further use."""
        path, query = _split_target(self.target)
        self._let_go()
        return UpgradeRequest(path, query, self._headers, self._headers["sec-websocket-key"], rest)

    def _let_go(self) -> None:
        """The parser holds this object: without the cycle it is freed at once, 2 KiB for each connection (measured)."""
        del self._parser


def _unreadable(problem: str) -> BadRequestError:
    return BadRequestError(400, f"This cannot be read as HTTP/1.1 ({problem}). Send a correct request.")


def _tokens(header: str) -> set[str]:
    return {token.strip().lower() for token in header.split(",")}


def _is_websocket_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _split_target(target: bytes) -> tuple[str, str]:
    """Path and query of a target, also of one in absolute form (RFC 9112 3.2.2). The parser let only ASCII pass."""
    text = target.decode("ascii")
    path, _, query = (text if text.startswith("/") else _ABSOLUTE.sub("", text, count=1)).partition("?")
    return path or "/", query
