"""A real node under abuse: it stays small, it says so in its metrics and once in its log, and others are served meanwhile.

Every flood is bounded in time, comes from this process, and is as fast as this process and the node allow. The bystander
is a connection of somebody else that pings all the while.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from node.config.apps import App
from tests.integration.support import APP
from tests.processes import LOOPBACK, Node, Processes
from tests.unit.support import sign_in_data, subscription_data, user_data
from tests.wire import TEXT, WireClient, masked

SECONDS = 3.0
"""How long each flood lasts."""

FLOODERS = 20
"""Connections that flood at the same time."""

GROWTH = 10 << 20
"""Bytes by which the node may grow meanwhile: a flood of any kind here is many times that."""

PROMPT = 2.0
"""Seconds in which the bystander is answered, on a machine with much else to do: floods last longer."""

PATH = f"/app/{APP.key}?protocol=7"
PING = json.dumps({"event": "pusher:ping", "data": {}})
SIGNED = App(id=APP.app_id, key=APP.key, secrets=(APP.secret,))

Flood = Callable[[Node], Awaitable[None]]


def memory_of(node: Node) -> int:
    """The most memory that the node ever occupied, in bytes."""
    status = Path(f"/proc/{node.pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


@asynccontextmanager
async def opened(node: Node) -> AsyncIterator[tuple[WireClient, str]]:
    """A WebSocket, and its socket id."""
    async with await trio.open_tcp_stream(LOOPBACK, node.port) as stream:
        client = WireClient(stream)
        await client.upgrade(PATH)
        first = json.loads(await client.read_text())
        yield client, json.loads(first["data"])["socket_id"]


def say(event: str, data: object) -> bytes:
    """One message, as a frame."""
    return masked(TEXT, json.dumps({"event": event, "data": data}).encode())


async def throw(node: Node, make: Callable[[str, int], bytes]) -> None:
    """Send what `make` gives for a socket id and a number, as fast as it goes, and come back whenever the node closes."""
    number = 0
    while True:
        async with opened(node) as (client, socket_id), trio.open_nursery() as nursery:
            nursery.start_soon(hear_to_the_end, client, nursery.cancel_scope)
            try:
                while True:
                    await client.send(make(socket_id, number))
                    number += 1
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass


async def hear_to_the_end(client: WireClient, scope: trio.CancelScope) -> None:
    """Read until the node closes; then stop the sending."""
    try:
        while await client.stream.receive_some(65_536):
            pass
    except trio.BrokenResourceError:
        pass
    scope.cancel()


def pings(_socket_id: str, _number: int) -> bytes:
    """A chunk of the cheapest messages."""
    return masked(TEXT, PING.encode()) * 100


def control_frames(_socket_id: str, _number: int) -> bytes:
    """A chunk of pings of WebSocket."""
    return masked(0x9, b"") * 2000


def long_messages(_socket_id: str, _number: int) -> bytes:
    """Messages of the longest kind, that mean nothing."""
    return BIG


BIG = masked(TEXT, b'{"event":"x","data":"' + b"x" * 130_000 + b'"}')


def bad_sign_ins(socket_id: str, number: int) -> bytes:
    """Signatures that are wrong."""
    return say("pusher:signin", sign_in_data(socket_id, SIGNED, user_data(f"ann{number}"), "wrong"))


def bad_subscriptions(socket_id: str, number: int) -> bytes:
    """The same for channels."""
    channel = f"private-{number}"
    return say("pusher:subscribe", {"channel": channel, **subscription_data(socket_id, SIGNED, channel, secret="wrong")})


def bad_client_events(_socket_id: str, number: int) -> bytes:
    """Client events for channels that nobody subscribed to."""
    message = {"event": "client-x", "channel": f"private-{number}", "data": {}}
    return masked(TEXT, json.dumps(message).encode())


def other_watchlists(socket_id: str, number: int) -> bytes:
    """The same user again and again, watching a hundred others each time."""
    raw = user_data("ann", [f"{number}-{each}" for each in range(100)])
    return say("pusher:signin", sign_in_data(socket_id, SIGNED, raw))


def comings_and_goings(_socket_id: str, _number: int) -> bytes:
    """Subscriptions to many channels, each given up at once."""
    return VISITS


VISITS = b"".join(
    say("pusher:subscribe", {"channel": f"channel-{number}"}) + say("pusher:unsubscribe", {"channel": f"channel-{number}"})
    for number in range(200)
)


FLOODS = [
    *(pings, control_frames, long_messages, bad_sign_ins, bad_subscriptions, bad_client_events),
    *(other_watchlists, comings_and_goings),
]


@asynccontextmanager
async def bystander(node: Node) -> AsyncIterator[list[float]]:
    """Somebody else, who pings all the while; yields the seconds that each answer took."""
    waits: list[float] = []

    async def converse(client: WireClient) -> None:
        while True:
            began = trio.current_time()
            await client.send_text(PING)
            assert "pong" in await client.read_text()
            waits.append(trio.current_time() - began)
            await trio.sleep(0.05)

    async with opened(node) as (client, _), trio.open_nursery() as nursery:
        nursery.start_soon(converse, client)
        yield waits
        nursery.cancel_scope.cancel()


async def withstand(node: Node, *attacks: Callable[[], Awaitable[object]]) -> None:
    """Let all attacks go on for a while: the node stays small, and somebody else is answered."""
    before = memory_of(node)
    async with bystander(node) as waits:
        with trio.move_on_after(SECONDS):
            async with trio.open_nursery() as nursery:
                for attack in attacks:
                    nursery.start_soon(attack)
    grown = memory_of(node) - before
    print(f"grew by {grown / 2**20:.1f} MiB, {len(waits)} answers, the slowest after {max(waits):.2f} s")
    assert grown < GROWTH
    assert max(waits) < PROMPT


async def hold(node: Node) -> None:
    """Open connections that never ask for anything, and keep them, as fast as it goes."""
    async with AsyncExitStack() as kept:
        while True:
            stream = await kept.enter_async_context(await trio.open_tcp_stream(LOOPBACK, node.port))
            await stream.send_all(b"GET / HTTP/1.1\r\nX: ")
            await trio.sleep(0.01)


async def come_and_go(node: Node, waits: list[float]) -> None:
    """Open a WebSocket, and leave it, again and again."""
    while True:
        began = trio.current_time()
        async with opened(node):
            waits.append(trio.current_time() - began)
        await trio.sleep(0.05)


async def storm(node: Node) -> None:
    """Open WebSockets as fast as it goes, whatever the answer."""
    while True:
        async with await trio.open_tcp_stream(LOOPBACK, node.port) as stream:
            client = WireClient(stream)
            await client.upgrade(PATH)
            await client.read_frame()


def oversteps(node: Node) -> dict[tuple[str, str], float]:
    """What the node counted, by limit and measure."""
    found = {}
    for name, value in node.metrics().items():
        if name.startswith("usher_oversteps_total{"):
            limit, measure = (part.split('"')[1] for part in name.split(","))
            found[limit, measure] = value
    return found


@pytest.mark.parametrize("make", FLOODS, ids=lambda make: make.__name__)
async def test_node_stays_small_and_serves_others_under_a_flood(
    processes: Processes, make: Callable[[str, int], bytes]
) -> None:
    """Twenty connections send as fast as they can, and come back as soon as they are closed."""
    (node,) = processes.start_nodes(1)
    await withstand(node, *[partial(throw, node, make)] * FLOODERS)
    counted = oversteps(node)
    print(counted)
    expected = "failures" if make.__name__.startswith("bad") else "traffic"
    assert counted[expected, "closed"] > 0
    lines = [line for line in node.log.read().splitlines() if "over a limit" in line]
    assert len(lines) == len(counted), "one line a minute for each kind"
    assert APP.secret not in node.log.read()


async def test_newcomers_are_served_while_somebody_opens_connections_and_says_nothing(processes: Processes) -> None:
    """More than may wait, all the time: the oldest make room, so who asks at once is answered."""
    (node,) = processes.start_nodes(1, env={"USHER_MAX_WAITING": "100"})
    waits: list[float] = []
    await withstand(node, partial(come_and_go, node, waits), *[partial(hold, node)] * FLOODERS)
    assert len(waits) > 5
    assert max(waits) < PROMPT
    assert oversteps(node)["waiting", "closed"] > 100


async def test_address_that_opens_too_many_websockets_is_refused_behind_a_proxy_too(processes: Processes) -> None:
    """Each forwarded address has its own share, and what a client claims to be forwarded for counts for nothing."""
    env = {"USHER_LIMITS__HANDSHAKES_PER_SECOND": "0.01", "USHER_LIMITS__HANDSHAKES_BURST": "3"}
    direct, proxied = (
        processes.start_nodes(1, env=env)[0],
        processes.start_nodes(1, env=env | {"USHER_TRUST_FORWARDED": "1"})[0],
    )
    addresses = ["192.0.2.1", "192.0.2.2", "198.51.100.9, 192.0.2.1"]
    told = [[await greeting(node, address) for address in addresses for _ in range(2)] for node in (direct, proxied)]
    assert told == [[None] * 3 + [4100] * 3, [None] * 5 + [4100]]
    assert oversteps(direct)["handshakes", "closed"] == 3


async def greeting(node: Node, address: str) -> int | None:
    """The code of the error that a new WebSocket begins with; None: there is none."""
    async with await trio.open_tcp_stream(LOOPBACK, node.port) as stream:
        client = WireClient(stream)
        await client.upgrade(PATH, f"X-Forwarded-For: {address}")
        first = json.loads(await client.read_text())
        return int(first["data"]["code"]) if first["event"] == "pusher:error" else None


async def test_node_stays_small_when_an_address_opens_websockets_without_end(processes: Processes) -> None:
    """Refused with 4100, and counted; who is connected already is served."""
    env = {"USHER_LIMITS__HANDSHAKES_PER_SECOND": "10", "USHER_LIMITS__HANDSHAKES_BURST": "10"}
    (node,) = processes.start_nodes(1, env=env)
    await withstand(node, *[partial(storm, node)] * FLOODERS)
    assert oversteps(node)["handshakes", "closed"] > 100
    assert sum("over a limit" in line for line in node.log.read().splitlines()) == 1
