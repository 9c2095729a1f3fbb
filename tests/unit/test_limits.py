"""Limits: what one connection and one address may do, and what they are told when it is too much."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from node.actions import Close, Overstepped, Send
from node.bucket import Bucket
from node.config.apps import Apps
from node.connection import Connection, Pace
from node.hub import Hub, HubSettings
from node.limits import UNLIMITED, Addresses, Limits, address_of, limit_failures, limit_traffic
from node.metrics import Metrics
from node.protocol.messages import ClientEvent, Message, SignIn, Subscribe, decode_message
from node.protocol.signatures import verify_signature
from node.refusals import UNSEEN
from tests.unit.support import APP, Client, FakeTransport, describe, sign_in_data, subscription_data, user_data

SOCKET_ID = "1.2"
LIMITS = Limits(*limit_traffic(10, 1000, 2.0, 10), failures=limit_failures(6))
"""Ten messages or a thousand bytes each second, two seconds' worth at once; six failures a minute."""


def connection_with(limits: Limits = LIMITS) -> Connection:
    """One that was just opened."""
    connection = Connection(APP, SOCKET_ID, FakeTransport(), 1000.0, limits)
    connection.touch(1000.0)
    connection.spent_until = 0.0
    return connection


def done(actions: tuple[object, ...]) -> list[str]:
    """What was done about it, in words."""
    return [action.measure.value for action in actions if isinstance(action, Overstepped)]


# -- buckets ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 64), st.integers(1, 8)), max_size=60), st.sampled_from([1, 4]))
def test_bucket_holds_no_more_than_its_burst_whatever_is_taken_when(steps: list[tuple[int, int]], rate: int) -> None:
    """Against tokens that are counted one by one; all numbers are exact in binary."""
    bucket, full_at, now, tokens = Bucket(rate, 8), 0.0, 100.0, 8.0
    for pause, cost in steps:
        now += pause / 16
        tokens = min(8.0, tokens + pause / 16 * rate)
        wait = bucket.wait(full_at, now, cost)
        assert wait == max(0.0, cost - tokens) / rate
        if not wait:
            full_at, tokens = bucket.take(full_at, now, cost), tokens - cost


def test_bucket_is_owed_what_was_taken_beyond_its_burst() -> None:
    """Once, or several times over."""
    bucket = Bucket(2.0, 4.0)
    full_at = bucket.take(0.0, 100.0, 6.0)
    assert bucket.owes(full_at, 100.0)
    assert not bucket.owes(full_at, 101.0)
    assert not bucket.owes(full_at, 100.0, times=1.5)


# -- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("192.0.2.1:4711", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:db8:1:2:3:4:5:6]:4711", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("[::ffff:192.0.2.1]:5", "192.0.2.1"),
        ("unknown", "unknown"),
        ("x" * 500, "x" * 64),
        (":::" * 100, (":::" * 100)[:64]),
        ("[", ""),
    ],
)
def test_address_is_an_ipv4_address_or_the_network_of_one_subscriber(remote: str, address: str) -> None:
    """Whatever a proxy says; a port does not matter, and nothing is kept that is long."""
    assert address_of(remote) == address


def test_addresses_admit_a_burst_of_each_and_then_their_rate() -> None:
    """One address' herd is not another's."""
    addresses = Addresses(2.0, 5.0)
    assert [addresses.admit(f"192.0.2.1:{port}", 100.0) for port in range(7)] == [True] * 5 + [False] * 2
    assert addresses.admit("192.0.2.2:1", 100.0)
    assert [addresses.admit("192.0.2.1:9", 100.5) for _ in range(2)] == [True, False]


def test_addresses_forget_the_quiet_ones_and_stay_small() -> None:
    """A hundred thousand addresses cost no more than those that are remembered, and the loud one is not forgotten."""
    addresses = Addresses(1.0, 1.0, size=100)
    for number in range(100_000):
        addresses.admit(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:1", 100.0)
        if not number % 50:
            assert addresses.admit("192.0.2.1:1", 100.0) is (number == 0)
    assert len(addresses) == 100
    assert "192.0.2.1" in addresses


def test_addresses_without_a_limit_remember_nothing() -> None:
    """Nor do those of streams that have none."""
    free, strict = Addresses(0.0, 1.0), Addresses(1.0, 1.0)
    assert all(free.admit("192.0.2.1:1", 100.0) for _ in range(100))
    assert all(strict.admit("", 100.0) for _ in range(100))
    assert len(free) == len(strict) == 0


# -- traffic ----------------------------------------------------------------------------------------------------------


def test_client_may_send_a_burst_and_is_told_once_and_then_closed() -> None:
    """Twenty at once are fine, the next is told, and twice as many are too much, with a code to come back after."""
    connection = connection_with()
    actions = [connection.touch(1000.0, 1, 0) for _ in range(41)]
    assert list(map(done, actions)) == [[]] * 20 + [["told"]] + [[]] * 19 + [["closed"]]
    assert describe(next(action for action in actions[20] if isinstance(action, Send)).frame) == "error None"
    assert next(action for action in actions[40] if isinstance(action, Close)).code == 4100


def test_client_that_keeps_to_its_rate_is_never_told() -> None:
    """Half of its messages' share and half of its bytes' share, for an hour."""
    connection = connection_with()
    assert not any(connection.touch(1000.0 + number / 5, 1, 100) for number in range(18_000))


def test_client_that_trickles_pays_for_each_reading() -> None:
    """A byte at a time is a message at a time, though nothing becomes complete."""
    connection = connection_with()
    assert list(map(done, [connection.touch(1000.0, 0, 1) for _ in range(30)])).count(["told"]) == 1


def test_limits_let_the_longest_message_pass() -> None:
    """Whatever the burst is; and a limit of 0 is none."""
    traffic, message_cost, byte_cost = limit_traffic(0, 1000, 1.0, 50_000)
    assert traffic is not None
    assert not traffic.owes(traffic.take(0.0, 100.0, 50_000 * byte_cost), 100.0)
    assert message_cost == 0.0
    assert limit_traffic(0, 0, 1.0, 50_000)[0] is None
    assert limit_failures(0) is None


def sign_in(user: str, watchlist: Sequence[object], secret: str | None = None) -> SignIn:
    """A sign-in on these connections."""
    data = sign_in_data(SOCKET_ID, APP, user_data(user, watchlist), secret)
    message = decode_message(json.dumps({"event": "pusher:signin", "data": data}))
    assert isinstance(message, SignIn)
    return message


def test_watchlist_that_changes_again_and_again_costs_a_message_for_each_user() -> None:
    """The first sign-in is free; ten with a hundred ids each are as much as a thousand messages."""
    connection = connection_with(Limits(*limit_traffic(100, 0, 10.0, 10)))
    lists = [[f"{number}-{each}" for each in range(100)] for number in range(22)]
    told = [done(connection.receive(sign_in("ann", watchlist))) for watchlist in lists]
    assert told == [[]] * 11 + [["told"]] + [[]] * 9 + [["closed"]]


# -- failures ---------------------------------------------------------------------------------------------------------


def test_failed_signatures_are_not_looked_at_any_more_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six failures of any kind; from then on no HMAC is computed, and after twelve the connection is closed."""
    connection = connection_with()
    looked: list[object] = []

    def look(*given: Any) -> None:
        looked.append(given)
        verify_signature(*given)

    monkeypatch.setattr("node.connection.verify_signature", look)
    monkeypatch.setattr("node.subscriptions.verify_signature", look)
    messages: list[Message] = [sign_in("ann", [], "wrong"), private("wrong"), ClientEvent("client-x", "x", "{}")] * 5
    told = [done(connection.receive(message)) for message in messages]
    assert told[:6] == [[]] * 6
    assert told[6:8] == [["refused"]] * 2
    assert ["closed"] in told[8:] or ["refused", "closed"] in told[8:]
    assert len(looked) == 4


def private(secret: str | None = None) -> Subscribe:
    """A subscription to a private channel."""
    data = subscription_data(SOCKET_ID, APP, "private-x", secret=secret)
    message = decode_message(json.dumps({"event": "pusher:subscribe", "data": {**data, "channel": "private-x"}}))
    assert isinstance(message, Subscribe)
    return message


def test_client_that_failed_often_may_still_subscribe_to_public_channels_and_sign_in_later() -> None:
    """Patience comes back, one failure in ten seconds."""
    connection = connection_with()
    for _ in range(6):
        connection.receive(sign_in("ann", [], "wrong"))
    assert done(connection.receive(Subscribe("x"))) == []
    assert done(connection.receive(private())) == ["refused"]
    connection.touch(1021.0)
    assert done(connection.receive(sign_in("ann", []))) == []
    assert connection.user is not None


def test_connection_without_limits_counts_nothing() -> None:
    """As tests and tools have it."""
    connection = connection_with(UNLIMITED)
    assert not any(connection.touch(1000.0, 1000, 1 << 30) for _ in range(10))
    assert not any(done(connection.receive(sign_in("ann", [], "wrong"))) for _ in range(1000))
    assert UNSEEN.code == 4009


def test_limits_cost_a_connection_fifty_bytes_at_most() -> None:
    """Three slots and one number; a node holds tens of thousands."""
    connection = connection_with()
    connection.touch(1001.0, 1, 10)
    assert 3 * 8 + sys.getsizeof(connection.spent_until) <= 50
    assert sys.getsizeof(connection) <= 17 * 8 + 32  # all slots of a connection, and what each object has


# -- in a hub ---------------------------------------------------------------------------------------------------------


def flood(client: Client) -> None:
    """Say more than anybody may."""
    while client.close_code is None:
        client.say("pusher:ping", {})


async def test_hub_closes_who_goes_on_and_counts_it_and_logs_it_once(autojump_clock: MockClock) -> None:
    """A flood must not flood the log; after a minute there may be a line again."""
    metrics = Metrics()
    hub = Hub(Apps([APP]), metrics, HubSettings(Pace(), limits=LIMITS))
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            client = Client(hub)
            flood(client)
            assert client.close_code == 4100
            assert [words for words in client.read() if words.startswith("error")] == ["error None", "error 4100"]
            assert not client.receiver.touch(trio.current_time(), 1, 0)
        assert [(line["measure"], line["unlogged"]) for line in logs] == [("told", 0), ("closed", 0)]
        await trio.sleep(61)
        flood(Client(hub))
        assert [(line["measure"], line["unlogged"]) for line in logs[2:]] == [("told", 4), ("closed", 4)]
    assert metrics.registry.get_sample_value("usher_oversteps_total", {"limit": "traffic", "measure": "closed"}) == 6


async def test_hub_refuses_an_address_that_opens_too_many_and_no_other(autojump_clock: MockClock) -> None:
    """With 4100, before anything is looked up; a second later there is room for more."""
    metrics = Metrics()
    hub = Hub(Apps([APP]), metrics, HubSettings(Pace(), handshakes=2.0, handshakes_burst=3.0))
    assert [Client(hub).close_code for _ in range(5)] == [None, None, None, 4100, 4100]
    await trio.sleep(1)
    assert [Client(hub).close_code for _ in range(3)] == [None, None, 4100]
    assert metrics.registry.get_sample_value("usher_oversteps_total", {"limit": "handshakes", "measure": "closed"}) == 3
