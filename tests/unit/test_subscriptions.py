"""What one connection decides about channels and client events, without a hub (protocol.md 2.7, 2.8, 6.1 to 6.8, 7, 10)."""

import json
from typing import Any

import pytest

from node.actions import Action, Authorized, Broadcast, Close, Join, Leave, Refusal, Refused, Send
from node.connection import Connection
from node.protocol.channels import ChannelKind
from node.protocol.members import MemberData
from node.protocol.messages import ClientEvent, Subscribe, Unsubscribe
from node.protocol.signatures import sign
from node.subscriptions import Subscription
from tests.unit.protocol.wire import KEY, SECRET, read_message
from tests.unit.support import APP, member_data, read_error, subscription_data
from tests.unit.test_connection import PACE, SOCKET_ID, claim, make, sign_in, signed_in, told

GUARDED = {
    "private-x": ChannelKind.PRIVATE,
    "private-encrypted-x": ChannelKind.ENCRYPTED,
    "private-cache-x": ChannelKind.PRIVATE_CACHE,
    "private-encrypted-cache-x": ChannelKind.ENCRYPTED_CACHE,
    "presence-x": ChannelKind.PRESENCE,
    "presence-cache-x": ChannelKind.PRESENCE_CACHE,
}
OPEN = {
    "x": ChannelKind.PUBLIC,
    "cache-x": ChannelKind.CACHE,
    "privatex": ChannelKind.PUBLIC,
    "my-private-x": ChannelKind.PUBLIC,
    "Private-x": ChannelKind.PUBLIC,
}
PRESENCE = [channel for channel in GUARDED if channel.startswith("presence-")]
DATA = member_data(10, {"name": "Ada"})


def subscribe(channel: str, channel_data: str | None = None, secret: str = SECRET) -> Subscribe:
    """A subscribe that is signed well, if the secret is."""
    return Subscribe(channel, **subscription_data(SOCKET_ID, APP, channel, channel_data, secret))


def join(connection: Connection, message: Subscribe) -> Subscription:
    """The subscription that a good subscribe leads to, and to nothing else; `is_confirmed` is the hub's part."""
    (action,) = connection.receive(message)
    assert isinstance(action, Join)
    assert connection.holds(action.subscription)
    return action.subscription


def joined(channel: str, channel_data: str | None = None, **settings: Any) -> tuple[Connection, Subscription]:
    """A connection that is subscribed."""
    connection = make(**settings)
    subscription = join(connection, subscribe(channel, channel_data))
    subscription.is_confirmed = True
    return connection, subscription


def refusal(actions: tuple[Action, ...], what: Refusal = Refusal.SUBSCRIPTION) -> tuple[int | None, str]:
    """Code and text of the `pusher:error` with which something was refused, and nothing else done."""
    *sends, refused = actions
    assert refused == Refused(what)
    assert all(isinstance(action, Send) for action in sends)
    last = sends[-1]
    assert isinstance(last, Send)
    return read_error(read_message(last.frame))


# -- subscribing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", OPEN)
@pytest.mark.parametrize("auth", [None, "", "nonsense"])
@pytest.mark.parametrize("channel_data", [None, "", "nonsense"])
def test_connection_subscribes_to_an_open_channel_whatever_else_is_sent(
    channel: str, auth: str | None, channel_data: str | None
) -> None:
    """`auth` and `channel_data` mean nothing there (6.2)."""
    subscription = join(make(), Subscribe(channel, auth, channel_data))
    assert (subscription.kind, subscription.member, subscription.is_confirmed) == (OPEN[channel], None, False)


@pytest.mark.parametrize("channel", GUARDED)
def test_connection_subscribes_to_a_guarded_channel_when_it_is_signed(channel: str) -> None:
    """Every kind that needs a signature."""
    data = DATA if channel in PRESENCE else None
    subscription = join(make(), subscribe(channel, data))
    member = MemberData("10", '{"name": "Ada"}') if data else None
    assert (subscription.kind, subscription.member) == (GUARDED[channel], member)


def test_connection_takes_the_documented_signatures() -> None:
    """The vectors of Pusher's documentation, the second one recomputed (6.2)."""
    private = Subscribe("private-foobar", f"{KEY}:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4")
    assert join(make(), private).kind is ChannelKind.PRIVATE
    presence = Subscribe(
        "presence-foobar",
        f"{KEY}:31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80",
        '{"user_id":10,"user_info":{"name":"Mr. Channels"}}',
    )
    assert join(make(), presence).member == MemberData("10", '{"name":"Mr. Channels"}')


@pytest.mark.parametrize("secret", ["new", "old"])
def test_connection_takes_a_subscription_that_any_secret_signed(secret: str) -> None:
    """Secrets are rotated while clients subscribe."""
    join(make(secrets=("new", "old")), subscribe("private-x", secret=secret))


@pytest.mark.parametrize("channel", ["private-x", "private-encrypted-x", "private-cache-x", "private-encrypted-cache-x"])
def test_connection_takes_channel_data_that_was_signed_for_a_private_channel(channel: str) -> None:
    """SDKs sign it whatever the prefix; it makes nobody a member (6.2)."""
    assert join(make(), subscribe(channel, DATA)).member is None


@pytest.mark.parametrize("suffix", ["", ":"])
def test_connection_takes_an_empty_channel_data_with_and_without_its_colon(suffix: str) -> None:
    """Pusher signs the colon; whoever left the data out did not (6.2)."""
    auth = f"{KEY}:{sign(SECRET, f'{SOCKET_ID}:private-x{suffix}')}"
    join(make(), Subscribe("private-x", auth, ""))


def test_connection_refuses_channel_data_that_was_not_signed() -> None:
    """Neither what was added nor what was left out goes through."""
    bare, full = subscribe("private-x"), subscribe("private-x", DATA)
    for message in (
        Subscribe("private-x", bare.auth, DATA),
        Subscribe("private-x", full.auth),
        Subscribe("private-x", full.auth, ""),
    ):
        assert refusal(make().receive(message))[0] == 4009


def auth_of(text: str, secret: str = SECRET) -> str:
    """An `auth` for any text."""
    return f"{KEY}:{sign(secret, text)}"


WRONG = {
    "none": None,
    "empty": "",
    "no colon": sign(SECRET, f"{SOCKET_ID}:private-x"),
    "another key": f"{KEY}x:{sign(SECRET, f'{SOCKET_ID}:private-x')}",
    "another secret": auth_of(f"{SOCKET_ID}:private-x", "other"),
    "another channel": auth_of(f"{SOCKET_ID}:private-y"),
    "another case": auth_of(f"{SOCKET_ID}:Private-x"),
    "another connection": auth_of("1.1:private-x"),
    "a sign-in's": auth_of(f"{SOCKET_ID}::user::private-x"),
    "upper case": f"{KEY}:{sign(SECRET, f'{SOCKET_ID}:private-x').upper()}",
    "longer": auth_of(f"{SOCKET_ID}:private-x") + "0",
    "shorter": auth_of(f"{SOCKET_ID}:private-x")[:-1],
    "not ASCII": f"{KEY}:ü",
}


@pytest.mark.parametrize("case", WRONG)
def test_connection_refuses_a_guarded_channel_when_the_auth_is_wrong(case: str) -> None:
    """The channel's handlers are told, then the connection's; nothing has changed: a good one goes through (6.4)."""
    connection = make()
    actions = connection.receive(Subscribe("private-x", WRONG[case]))
    code, text = refusal(actions)
    assert (code, told(actions)) == (4009, ["refused private-x AuthError 401", "error 4009"])
    assert sign(SECRET, f"{SOCKET_ID}:private-x") not in text.removesuffix((WRONG[case] or "").partition(":")[2])
    assert connection.subscriptions is None
    join(connection, subscribe("private-x"))


@pytest.mark.parametrize("channel", GUARDED)
def test_no_signature_of_another_channel_opens_a_guarded_one(channel: str) -> None:
    """Each signature is for one channel, and for members with their data."""
    data = DATA if channel in PRESENCE else None
    for other in GUARDED.keys() - {channel}:
        auth = subscribe(other, data).auth
        assert refusal(make().receive(Subscribe(channel, auth, data)))[0] == 4009


@pytest.mark.parametrize("channel", ["", "a b", "a\n", "ü", "a/b", "a*", "a>", "a:b", "x#server-to-user-1", "c" * 201])
def test_connection_refuses_a_name_that_no_channel_has(channel: str) -> None:
    """Also with a signature that would be right for it (6.1)."""
    for connection in (make(), signed_in("ann")):
        code, text = refusal(connection.receive(subscribe(channel)))
        assert code == 4009
        assert text.startswith("Invalid channel name")


def test_connection_takes_names_as_long_as_the_app_says() -> None:
    """200 by default, prefix included."""
    join(make(), Subscribe("c" * 200))
    join(make(channel_name_limit=5), Subscribe("c" * 5))
    assert refusal(make(channel_name_limit=5).receive(Subscribe("c" * 6)))[0] == 4009


@pytest.mark.parametrize("confirmed", [False, True])
def test_connection_refuses_a_second_subscription_to_a_channel(confirmed: bool) -> None:
    """Without a code and without a word to the channel, whose subscription stays as it is (6.4)."""
    connection, subscription = joined("private-x")
    subscription.is_confirmed = confirmed
    for message in (subscribe("private-x"), Subscribe("private-x", "nonsense")):
        actions = connection.receive(message)
        assert told(actions) == ["error None"]
        assert refusal(actions) == (None, "Existing subscription to channel private-x")
    assert connection.holds(subscription)


def test_connection_subscribes_to_as_many_channels_as_the_app_says() -> None:
    """Those in progress count; who leaves one may join another."""
    connection = make(subscriptions_per_connection=2)
    for channel in ("a", "b"):
        join(connection, Subscribe(channel))
    actions = connection.receive(Subscribe("c"))
    assert told(actions) == ["refused c LimitReached 4100", "error None"]
    connection.receive(Unsubscribe("a"))
    join(connection, Subscribe("c"))
    endless = make(subscriptions_per_connection=0)
    for number in range(2000):
        join(endless, Subscribe(str(number)))


# -- members ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", PRESENCE)
@pytest.mark.parametrize("channel_data", [None, ""])
def test_signed_in_user_is_the_member_when_there_is_no_channel_data(channel: str, channel_data: str | None) -> None:
    """Signed as a private channel is (2.8)."""
    connection = make()
    connection.signed_in(claim(connection, sign_in("ann")))
    auth = subscribe(channel).auth
    assert join(connection, Subscribe(channel, auth, channel_data)).member == MemberData("ann", "{}")


def test_signed_in_user_tells_its_user_info_as_a_member() -> None:
    """`user_data.user_info`, as it was signed (2.8)."""
    connection = make()
    raw = '{"id":"ann","user_info":{"n" : 1.0}}'
    message = sign_in("ann")
    auth = f"{KEY}:{sign(SECRET, f'{SOCKET_ID}::user::{raw}')}"
    connection.signed_in(claim(connection, type(message)(auth, raw)))
    assert join(connection, subscribe("presence-x")).member == MemberData("ann", '{"n" : 1.0}')


def test_channel_data_wins_over_the_signed_in_user() -> None:
    """Presence is not user sign-in: one may be somebody else in a channel (2.8)."""
    subscription = join(signed_in("ann"), subscribe("presence-x", member_data("bea")))
    assert subscription.member == MemberData("bea", "{}")


def test_member_needs_channel_data_until_the_sign_in_is_confirmed() -> None:
    """A claim is not enough, and the signature was right."""
    connection = make()
    for _ in range(2):
        code, text = refusal(connection.receive(subscribe("presence-x")))
        assert (code, "channel_data" in text) == (4009, True)
        claim(connection, sign_in("ann"))


def test_member_of_a_channel_is_not_signed_in() -> None:
    """Presence is not user sign-in: neither the user's events nor another channel of that user (3.1)."""
    connection, _ = joined("presence-x", member_data("ann"))
    assert connection.user is None
    assert told(connection.receive(Subscribe("#server-to-user-ann"))) == ["error 4009"]
    assert refusal(connection.receive(subscribe("presence-y")))[0] == 4009


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("x", ["refused presence-x AuthError 401", "error 4009"]),
        ("{}", ["refused presence-x AuthError 401", "error 4009"]),
        ('{"user_id":""}', ["refused presence-x AuthError 401", "error 4009"]),
        (member_data("u" * 129), ["refused presence-x LimitReached 4100", "error None"]),
        (member_data("u", "x" * 1024), ["refused presence-x LimitReached 4100", "error None"]),
    ],
)
def test_connection_refuses_a_member_who_is_nobody_or_too_much(data: str, words: list[str]) -> None:
    """Also when it was signed (6.5)."""
    connection = make()
    assert told(connection.receive(subscribe("presence-x", data))) == words
    assert connection.subscriptions is None


# -- leaving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("confirmed", [False, True])
def test_connection_leaves_a_channel_in_silence(confirmed: bool) -> None:
    """A subscription in progress is given up; a later one is another one (6.8)."""
    connection, subscription = joined("private-x")
    subscription.is_confirmed = confirmed
    assert connection.receive(Unsubscribe("private-x")) == (Leave(subscription),)
    assert not connection.holds(subscription)
    assert connection.subscriptions is None
    again = join(connection, subscribe("private-x"))
    assert connection.holds(again)
    assert not connection.holds(subscription)


def test_connection_is_told_when_it_leaves_a_channel_that_it_is_not_subscribed_to() -> None:
    """In Pusher's words, and never closed for it."""
    connection, _ = joined("private-x")
    connection.receive(Unsubscribe("private-x"))
    for channel in ("private-x", "presence-x", "", "c" * 300):
        (action,) = connection.receive(Unsubscribe(channel))
        assert isinstance(action, Send)
        expected = f"No current subscription to channel {channel[:200]}, or subscription in progress"
        assert read_error(read_message(action.frame)) == (None, expected)


def test_connection_keeps_what_it_subscribed_to_when_an_older_subscription_is_dropped() -> None:
    """The cluster may answer late."""
    connection, old = joined("private-x")
    connection.receive(Unsubscribe("private-x"))
    new = join(connection, subscribe("private-x"))
    connection.drop(old)
    assert connection.holds(new)


# -- authorized connections -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", GUARDED)
def test_guarded_subscription_authorizes_a_connection(channel: str) -> None:
    """Once, and from then on it has no deadline (2.7)."""
    connection = make(require_authorization=True, authorization_timeout=30.0)
    data = DATA if channel in PRESENCE else None
    first, second = connection.receive(subscribe(channel, data))
    assert (first, type(second)) == (Authorized(), Join)
    assert connection.is_authorized
    connection.touch(29.0)
    assert connection.check(31.0, PACE) == ()
    join(connection, subscribe("private-other"))
    claim(connection, sign_in())


@pytest.mark.parametrize("message", [Subscribe("x"), Subscribe("cache-x"), Subscribe("private-x", f"{KEY}:0")])
def test_other_subscriptions_authorize_nobody(message: Subscribe) -> None:
    """Nobody signed them (2.7)."""
    connection = make(require_authorization=True, authorization_timeout=30.0)
    connection.receive(message)
    assert not connection.is_authorized
    (action,) = connection.check(30.0, PACE)
    assert isinstance(action, Close)


# -- client events ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["private-x", "private-cache-x", "presence-x", "presence-cache-x"])
def test_subscriber_sends_client_events_to_private_and_presence_channels(channel: str) -> None:
    """What travels is what was said, and who said it is known by the subscription."""
    connection, subscription = joined(channel, DATA if channel in PRESENCE else None, client_events=True)
    actions = connection.receive(ClientEvent("client-x", channel, '{"a":1}'))
    assert actions == (Broadcast(subscription, "client-x", '{"a":1}'),)


@pytest.mark.parametrize("channel", ["x", "cache-x", "private-encrypted-x", "private-encrypted-cache-x", "my-private-x"])
def test_nobody_sends_client_events_to_other_channels(channel: str) -> None:
    """Subscribed or not: never on public and never on encrypted channels (7, 10)."""
    connection, _ = joined(channel, client_events=True)
    for each in (connection, make(client_events=True)):
        actions = each.receive(ClientEvent("client-x", channel, "{}"))
        assert refusal(actions, Refusal.CLIENT_EVENT)[0] == 4009


@pytest.mark.parametrize("channel", ["#server-to-user-ann", "#server-to-user-bea", "#ann", "#private-x", "", "a b"])
def test_nobody_sends_client_events_to_reserved_names(channel: str) -> None:
    """Not even the user itself: nobody writes to users but the app's server (7)."""
    connection = signed_in("ann", client_events=True)
    connection.receive(Subscribe("#server-to-user-ann"))
    assert refusal(connection.receive(ClientEvent("client-x", channel, "{}")), Refusal.CLIENT_EVENT)[0] == 4009


def test_client_events_are_for_subscribers() -> None:
    """Neither before the success nor after leaving (7)."""
    connection = make(client_events=True)
    event = ClientEvent("client-x", "private-x", "{}")
    expected = (4009, "Cannot broadcast client event (connection not subscribed to channel private-x)")
    assert refusal(connection.receive(event), Refusal.CLIENT_EVENT) == expected
    subscription = join(connection, subscribe("private-x"))
    assert refusal(connection.receive(event), Refusal.CLIENT_EVENT) == expected
    subscription.is_confirmed = True
    assert isinstance(connection.receive(event)[0], Broadcast)
    connection.receive(Unsubscribe("private-x"))
    assert refusal(connection.receive(event), Refusal.CLIENT_EVENT) == expected


def test_client_events_are_refused_unless_the_app_enables_them() -> None:
    """Off by default."""
    connection, _ = joined("private-x")
    code, text = refusal(connection.receive(ClientEvent("client-x", "private-x", "{}")), Refusal.CLIENT_EVENT)
    assert (code, text.startswith("To send client events, you must enable this feature")) == (None, True)


@pytest.mark.parametrize(
    ("event", "data", "goes"),
    [
        ("client-" + "x" * 193, "", True),
        ("client-" + "x" * 194, "", False),
        ("client-", "", True),
        ("client-x", "x" * 100, True),
        ("client-x", "x" * 101, False),
        ("client-x", "ü" * 50, True),
        ("client-x", "ü" * 51, False),
        ("client-x", "😀" * 25, True),
        ("client-x", "😀" * 26, False),
    ],
)
def test_client_event_has_the_limits_of_every_event(event: str, data: str, goes: bool) -> None:
    """200 characters of a name, and the bytes of the data."""
    connection, _ = joined("private-x", client_events=True, max_event_bytes=100)
    actions = connection.receive(ClientEvent(event, "private-x", data))
    if goes:
        assert isinstance(actions[0], Broadcast)
    else:
        assert refusal(actions, Refusal.CLIENT_EVENT)[0] is None


def burst(connection: Connection, at: float, count: int) -> list[bool]:
    """Which of so many client events go through at one moment."""
    connection.touch(at)
    going = []
    for _ in range(count):
        actions = connection.receive(ClientEvent("client-x", "private-x", "{}"))
        going.append(isinstance(actions[0], Broadcast))
        if not going[-1]:
            expected = (4301, "Client event rejected due to rate limit")
            assert refusal(actions, Refusal.CLIENT_EVENT_RATE) == expected
    return going


def test_connection_sends_ten_client_events_in_a_second() -> None:
    """What is over is refused and does not count; a tenth of a second brings the next one (7)."""
    connection, _ = joined("private-x", client_events=True)
    assert burst(connection, 100.0, 12) == [True] * 10 + [False] * 2
    assert burst(connection, 100.05, 1) == [False]
    assert burst(connection, 100.1, 2) == [True, False]
    assert burst(connection, 101.1, 12) == [True] * 10 + [False] * 2


def test_connection_sends_as_many_client_events_as_the_app_says() -> None:
    """0 sets no limit; less than one in a second is possible."""
    connection, _ = joined("private-x", client_events=True, client_events_per_second=0)
    assert all(burst(connection, 1.0, 1000))
    slow, _ = joined("private-x", client_events=True, client_events_per_second=0.5)
    assert burst(slow, 1.0, 2) == [True, False]
    assert burst(slow, 2.9, 1) == [False]
    assert burst(slow, 3.0, 2) == [True, False]


def test_member_data_is_the_json_that_the_helper_says() -> None:
    """The helpers sign what a backend would."""
    assert json.loads(DATA) == {"user_id": 10, "user_info": {"name": "Ada"}}
