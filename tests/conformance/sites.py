"""Where a transport under test serves, and the other side of its seam.

A new transport joins the suite with a function like those in `SITES`: it starts serving and returns a `Site`.
"""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache, partial

import trio
import trustme
from trio.testing import memory_stream_pair

from node.metrics import Metrics
from node.protocol.frames import encode_text
from node.transport.listener import serve
from node.transport.plain import PlainListener
from node.transport.seam import Acceptor, ApiRequest, ApiResponse, Receiver, Transport, Upgrade
from node.transport.settings import TransportSettings
from tests.wire import WireClient


class Session:
    """A receiver that echoes, and remembers what it was told."""

    def __init__(self, upgrade: Upgrade, transport: Transport) -> None:
        self.upgrade = upgrade
        self.transport = transport
        self.texts: list[str] = []
        self.touches = self.frames = self.size = 0
        self.patience = float("inf")
        self.closed_times = 0
        self._ended = trio.Event()

    def receive(self, text: str) -> None:
        """Echo."""
        assert not self.closed_times
        assert self.touches
        self.texts.append(text)
        self.transport.offer(encode_text(text))

    def touch(self, now: float, frames: int, size: int) -> bool:
        """Count."""
        assert not self.closed_times
        assert 0 <= trio.current_time() - now < 10
        self.touches += 1
        self.frames += frames
        self.size += size
        if self.touches <= self.patience:
            return True
        self.transport.close(4100, "enough")
        return False

    def closed(self) -> None:
        """Count: only once is right."""
        self.closed_times += 1
        self._ended.set()

    async def ended(self) -> None:
        """Wait until it is closed, and then for what would come twice."""
        with trio.fail_after(10):
            await self._ended.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert self.closed_times == 1


class EchoAcceptor:
    """Gives each WebSocket a Session; `greet` may use the transport at once, as a refusal does.

    `instead`, such as a hub, opens the sessions in its place.
    """

    def __init__(self) -> None:
        self.greet: Callable[[Transport], None] = lambda _transport: None
        self.instead: Acceptor | None = None
        self._send, self._receive = trio.open_memory_channel[Session](1000)

    def open(self, upgrade: Upgrade, transport: Transport) -> Receiver:
        """Open a session."""
        if self.instead is not None:
            return self.instead.open(upgrade, transport)
        session = Session(upgrade, transport)
        self._send.send_nowait(session)
        self.greet(transport)
        return session

    async def session(self) -> Session:
        """The next session that was opened."""
        with trio.fail_after(10):
            return await self._receive.receive()


class EchoApi:
    """Answers with the request's body and keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[ApiRequest] = []
        self.respond: Callable[[ApiRequest], Awaitable[ApiResponse]] = self._echo

    async def __call__(self, request: ApiRequest) -> ApiResponse:
        """Answer."""
        self.requests.append(request)
        return await self.respond(request)

    async def _echo(self, request: ApiRequest) -> ApiResponse:
        await trio.lowlevel.checkpoint()
        return ApiResponse(200, request.body or b"{}", (("X-Path", request.path),))


@dataclass
class Site:
    """A transport that serves."""

    connect_stream: Callable[[], Awaitable[trio.abc.Stream]]
    acceptor: EchoAcceptor
    api: EchoApi
    metrics: Metrics
    serving: trio.CancelScope
    stopped: trio.Event
    stop_accepting: Callable[[], Awaitable[None]]
    secure: bool = False
    has_addresses: bool = True
    pushes_back: bool = True
    queues_offers: bool = True  # else they go to the kernel at once
    clients: list[WireClient] = field(default_factory=list)

    async def connect(self) -> WireClient:
        """A new connection."""
        client = WireClient(await self.connect_stream())
        self.clients.append(client)
        return client

    async def aclose(self) -> None:
        """Close what the test left open, the clients first: so each session sees the end of its stream."""
        for client in self.clients:
            await client.aclose()
        self.serving.cancel()
        await self.stopped.wait()

    async def open(self) -> tuple[WireClient, Session]:
        """A new WebSocket, and its session."""
        client = await self.connect()
        await client.upgrade()
        return client, await self.acceptor.session()

    async def idle(self) -> None:
        """Wait until there is nothing left to do, of what came so far."""
        await trio.testing.wait_all_tasks_blocked(0.005)

    def count(self, name: str) -> float:
        """The value of a counter without labels."""
        return self.metrics.registry.get_sample_value(f"usher_{name}_total") or 0.0


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """Accepts the other ends of in-memory streams."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](100)

    async def connect(self) -> trio.abc.Stream:
        """A new stream to whoever accepts."""
        ours, theirs = memory_stream_pair()
        await self.add(theirs)
        return ours

    async def add(self, stream: trio.abc.Stream) -> None:
        """Let this stream be accepted."""
        await self._send.send(stream)

    async def accept(self) -> trio.abc.Stream:
        """The other end of a new stream."""
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError from None

    async def aclose(self) -> None:
        """Accept no more."""
        await self._send.aclose()


async def _start(
    nursery: trio.Nursery,
    settings: TransportSettings,
    listener: trio.abc.Listener[trio.abc.Stream],
    connect: Callable[[], Awaitable[trio.abc.Stream]],
) -> Site:
    acceptor, api, metrics = EchoAcceptor(), EchoApi(), Metrics()
    scope, stopped = trio.CancelScope(), trio.Event()

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        with scope:
            await serve([listener], acceptor, api, settings, metrics, task_status=task_status)
        stopped.set()

    await nursery.start(run)
    return Site(connect, acceptor, api, metrics, scope, stopped, listener.aclose)


async def start_tcp(nursery: trio.Nursery, settings: TransportSettings) -> Site:
    """Plain TCP on a free port."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    return await _start(nursery, settings, listener, partial(trio.open_tcp_stream, "127.0.0.1", port))


async def start_plain(nursery: trio.Nursery, settings: TransportSettings) -> Site:
    """Plain TCP on a free port, the fast way."""
    (tcp,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    listener = PlainListener(tcp)
    site = await _start(nursery, settings, listener, partial(trio.open_tcp_stream, "127.0.0.1", listener.port))
    site.queues_offers = False
    return site


async def start_tls(nursery: trio.Nursery, settings: TransportSettings) -> Site:
    """TLS that ends in the node."""
    server, client = _tls_contexts()
    (plain,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = plain.socket.getsockname()[1]

    async def connect() -> trio.abc.Stream:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        return trio.SSLStream(stream, client, server_hostname="localhost", https_compatible=True)

    site = await _start(nursery, settings, trio.SSLListener(plain, server), connect)
    site.secure = True
    return site


@cache
def _tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's, who trust each other."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def start_memory(nursery: trio.Nursery, settings: TransportSettings) -> Site:
    """Streams in memory: they take everything at once."""
    listener = MemoryListener()
    site = await _start(nursery, settings, listener, listener.connect)
    site.has_addresses = site.pushes_back = False
    return site


SITES = {"plain": start_plain, "tcp": start_tcp, "tls": start_tls, "memory": start_memory}
