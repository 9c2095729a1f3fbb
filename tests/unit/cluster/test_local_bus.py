"""The bus inside one process keeps the promises of `cluster.bus`."""

import pytest
import trio
from trio.testing import MockClock

from cluster.bus import flush
from cluster.local_bus import Broker, LocalBus


class _Log:
    """What was heard, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes | None, str]] = []

    def __call__(self, subject: str, payload: bytes | None, reply: str) -> None:
        """A handler."""
        self.heard.append((subject, payload, reply))


def test_a_message_reaches_every_interest_but_its_sender_s() -> None:
    """By its subject and by its siblings' wildcard; no echo."""
    broker = Broker()
    one, other = LocalBus(broker), LocalBus(broker)
    logs = [_Log() for _ in range(4)]
    other.subscribe("a.b", logs[0])
    other.subscribe("a.*", logs[1])
    other.subscribe("a.c", logs[2])
    one.subscribe("a.b", logs[3])
    one.publish("a.b", b"x")
    assert [log.heard for log in logs] == [[("a.b", b"x", "")], [("a.b", b"x", "")], [], []]


def test_a_question_that_nobody_hears_is_answered_at_once() -> None:
    """No responders; only the asker is told, and only if it wants an answer."""
    broker = Broker()
    one, other = LocalBus(broker), LocalBus(broker)
    mine, others = _Log(), _Log()
    one.subscribe("reply.*", mine)
    other.subscribe("reply.*", others)
    one.publish("nobody", b"x", "reply.1")
    one.publish("nobody", b"x")
    assert mine.heard == [("reply.1", None, "")]
    assert others.heard == []


def test_a_handler_s_own_messages_come_after_it() -> None:
    """Never nested: all hear the same order."""
    broker = Broker()
    one, other = LocalBus(broker), LocalBus(broker)
    order: list[str] = []

    def answer(_subject: str, _payload: bytes | None, _reply: str) -> None:
        one.publish("second", b"")
        order.append("first")

    one.subscribe("first", answer)
    other.subscribe("second", lambda *_: order.append("second"))
    other.publish("first", b"")
    assert order == ["first", "second"]


def test_an_interest_that_was_dropped_hears_nothing_more() -> None:
    """Not even the message that is being delivered."""
    broker = Broker()
    one, other = LocalBus(broker), LocalBus(broker)
    log = _Log()
    one.subscribe("a", lambda *_: other.unsubscribe(number))
    number = other.subscribe("a", log)
    third = LocalBus(broker)
    third.publish("a", b"")
    third.publish("a", b"")
    assert log.heard == []
    other.unsubscribe(number)


async def test_a_bus_that_ends_leaves_no_interest(autojump_clock: MockClock) -> None:
    """As if its process had died."""

    class Up:
        ups = 0

        def bus_up(self) -> None:
            self.ups += 1

        def bus_down(self) -> None:
            pytest.fail("it is never away")

    broker = Broker()
    one, other, up, mine = LocalBus(broker), LocalBus(broker), Up(), _Log()
    other.subscribe("reply", mine)
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run, up)
        one.subscribe("a", _Log())
        await flush(one)
        nursery.cancel_scope.cancel()
    other.publish("a", b"", "reply")
    assert up.ups == 1
    assert mine.heard == [("reply", None, "")]
