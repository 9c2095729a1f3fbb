"""One consumer stops reading: it costs its own connection and bounded memory, and nobody else's latency.

Rounds alternate: the same flood of events goes to a user who reads and to one who does not, so that what a noisy machine
does to latency it does to both.
"""

import json
import socket
from pathlib import Path
from statistics import median

import trio

from tests.client import Client
from tests.faults.crowds import assemble, percentile
from tests.faults.load import Publisher
from tests.faults.scenario import Scenario
from tests.faults.stage import Stage
from tests.integration.support import APP, api
from tests.wire import TEXT, WireClient, masked

SLOWER = 1.5
OUTBOX = 1 << 17
MEMORY = 16 << 20  # bytes that a node may grow by in the second half: nothing piles up
RATE = 60.0
_FLOOD = 100.0  # events a second for the one user
_PAYLOAD = 9000
_NOISE = 0.005  # seconds: below that, a p99 on a busy machine says nothing


class Sleeper:
    """Signs in as a user, and then reads nothing, until it is cut off; then it does so again."""

    def __init__(self, port: int, user: str) -> None:
        self._port = port
        self._user = user

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            async with await self._connect() as stream:
                await self._sign_in(WireClient(stream))
                await _wait_until_cut_off(stream)

    async def _connect(self) -> trio.SocketStream:
        sock = trio.socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # the kernel takes little for it
        await sock.connect(("127.0.0.1", self._port))
        return trio.SocketStream(sock)

    async def _sign_in(self, client: WireClient) -> None:
        await client.upgrade(f"/app/{APP.key}?protocol=7")
        socket_id = json.loads(json.loads(await client.read_text())["data"])["socket_id"]
        user_data = json.dumps({"id": self._user})
        auth = f"{APP.key}:{APP.sign(f'{socket_id}::user::{user_data}')}"
        message = {"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}
        await client.send(masked(TEXT, json.dumps(message).encode()))
        assert "signin_success" in await client.read_text()


async def _wait_until_cut_off(stream: trio.SocketStream) -> None:
    """The kernel says that the peer is gone once a write fails; nothing is read."""
    try:
        while True:
            await stream.send_all(masked(TEXT, b'{"event":"pusher:pong","data":{}}'))
            await trio.sleep(0.2)
    except (trio.BrokenResourceError, OSError):
        return


def slow(users: int, rounds: int, seconds: float) -> Scenario:
    """So many rounds with and without a reader, each so long."""

    async def play(stage: Stage, nursery: trio.Nursery, users: int) -> None:
        await assemble(stage, nursery, users)
        reader = Client(APP, [stage.nodes[0].port], comes_back=True)
        nursery.start_soon(reader.run)
        await reader.until(lambda: reader.socket_id)
        await reader.sign_in("reader")
        latencies: dict[bool, list[list[float]]] = {False: [], True: []}  # by round
        memory: list[int] = []
        publisher = Publisher(stage, RATE)
        for _ in range(rounds):
            for sleeps in (False, True):
                since = trio.current_time()
                with trio.move_on_after(seconds):
                    async with trio.open_nursery() as load:
                        load.start_soon(publisher.run)
                        load.start_soon(_flood, stage, "sleeper" if sleeps else "reader")
                        if sleeps:
                            load.start_soon(Sleeper(stage.nodes[0].port, "sleeper").run)
                await trio.sleep(0.3)
                latencies[sleeps].append(_latencies(stage, since))
            memory.append(_memory(stage))
            reader.told.clear()
        _judge(stage, latencies, memory)

    return Scenario("slow-consumer", play, users, {}, {"USHER_WEBSOCKET__OUTBOX_BYTES": str(OUTBOX)})


async def _flood(stage: Stage, user: str) -> None:
    """Large events for one user, through another node than its own; the outbox is watched meanwhile."""
    async with api(stage.nodes[1]) as backend:
        for number in range(1_000_000):
            await backend.send_to_user(user, "flood", "x" * _PAYLOAD)
            await trio.sleep(1 / _FLOOD)
            if number % 20 == 0:
                waiting = await trio.to_thread.run_sync(stage.metric, 0, "outbox_bytes")
                stage.highest["outbox"] = max(stage.highest.get("outbox", 0), waiting)


def _latencies(stage: Stage, since: float) -> list[float]:
    """From the request to each of the crowd, in seconds."""
    sent = {event.number: event.sent_at for event in stage.published if event.sent_at >= since}
    return [
        received.at - sent[received.number]
        for ledger in stage.crowd.ledgers
        for stay in ledger.stays
        for received in stay.received
        if received.number in sent
    ]


def _memory(stage: Stage) -> int:
    """Bytes of memory of the node that has the sleeper."""
    return int(Path(f"/proc/{stage.nodes[0].pid}/statm").read_text().split()[1]) * 4096


def _judge(stage: Stage, latencies: dict[bool, list[list[float]]], memory: list[int]) -> None:
    """The median of the rounds counts: one hiccup of the machine is in one round."""
    for share in (0.5, 0.99):
        usual, beside = (median(percentile(times, share) for times in latencies[sleeps]) for sleeps in (False, True))
        name = f"latency of others, p{100 * share:.0f} in ms, all read and one sleeps"
        stage.figures[name] = f"{1000 * usual:.1f}, {1000 * beside:.1f}"
    stage.expect(beside <= SLOWER * usual + _NOISE, f"the others' p99 is not {beside / usual:.1f} times as long")
    closes = stage.metric(0, "slow_consumer_closes_total")
    stage.figures["slow consumers cut off, highest outbox in bytes"] = f"{closes:.0f}, {stage.highest.get('outbox', 0):.0f}"
    stage.expect(closes, "the sleeper is cut off")
    stage.expect(stage.highest.get("outbox", 0) <= 1.1 * OUTBOX, "its outbox is bounded")
    grown = memory[-1] - memory[len(memory) // 2]
    stage.figures["memory of the node in MiB, by round"] = ", ".join(f"{each / (1 << 20):.1f}" for each in memory)
    stage.expect(grown < MEMORY, f"memory does not grow by {grown} bytes")
