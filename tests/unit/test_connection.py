"""What one connection decides, without a hub, a cluster or a clock (protocol.md 1.3, 2, 3.1)."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from node.actions import Action, Authorized, Claim, Close, Refusal, Refused, Send
from node.config.apps import App
from node.connection import Connection, Pace, Phase
from node.protocol.frames import PING, PING_EVENT
from node.protocol.messages import ClientEvent, Message, Ping, Pong, SignIn, Subscribe, UnknownEvent, Unsubscribe
from node.protocol.signatures import sign, user_string
from tests.unit.protocol.wire import KEY, SECRET, read_message
from tests.unit.support import APP, FakeTransport, describe, read_error, sign_in_data, user_data

SOCKET_ID = "1234.1234"
PACE = Pace(activity_timeout=120.0, pong_timeout=30.0)


def make(now: float = 0.0, **settings: Any) -> Connection:
    """A connection of an app with these settings."""
    app = App(**({"id": APP.id, "key": KEY, "secrets": (SECRET,)} | settings))
    return Connection(app, SOCKET_ID, FakeTransport(), now)


def sign_in(user: str = "ann", watchlist: Sequence[object] | None = None, secret: str = SECRET) -> SignIn:
    """A sign-in that is signed well, if the secret is."""
    return SignIn(**sign_in_data(SOCKET_ID, APP, user_data(user, watchlist), secret))


def claim(connection: Connection, message: SignIn) -> Claim:
    """The claim that a good sign-in leads to, and to nothing else but that a deadline is met."""
    before = connection.is_authorized
    *more, action = connection.receive(message)
    assert more == [Authorized()] * (not before)
    assert isinstance(action, Claim)
    return action


def told(actions: Sequence[Action]) -> list[str]:
    """What the client is told, in words."""
    return [describe(action.frame) for action in actions if isinstance(action, Send)]


def error_of(actions: Sequence[Action]) -> tuple[int | None, str]:
    """The one error that the client is told."""
    (frame,) = [action.frame for action in actions if isinstance(action, Send)]
    return read_error(read_message(frame))


# -- signing in -------------------------------------------------------------------------------------------------------


def test_connection_claims_its_user_when_the_signature_is_right() -> None:
    """Nothing is told before the cluster has confirmed."""
    connection = make()
    made = claim(connection, sign_in("ann", ["bea", "cid"]))
    assert (made.user.id, made.user.watchlist, made.number, made.cut) == ("ann", ("bea", "cid"), 1, False)
    assert (connection.phase, connection.user) == (Phase.SIGNING_IN, made.user)


def test_connection_claims_its_user_when_the_signature_is_the_documented_one() -> None:
    """The test vector of Pusher's own documentation (protocol.md 2.2)."""
    signature = "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"
    assert claim(make(), SignIn(f"{KEY}:{signature}", '{"id":"12345"}')).user.id == "12345"


@pytest.mark.parametrize("secret", ["new", "old"])
def test_connection_claims_its_user_when_any_secret_signed(secret: str) -> None:
    """Secrets are rotated while clients sign in."""
    assert claim(make(secrets=("new", "old")), sign_in(secret=secret)).user.id == "ann"


RAW = '{"id":"ann"}'
GOOD = sign(SECRET, user_string(SOCKET_ID, RAW))
REFUSALS = {
    "no colon": (GOOD, RAW, "Invalid format"),
    "empty": ("", RAW, "Invalid format"),
    "another key": (f"{KEY}x:{GOOD}", RAW, "Invalid key"),
    "no key": (f":{GOOD}", RAW, "Invalid key"),
    "no signature": (f"{KEY}:", RAW, "Invalid signature"),
    "upper case": (f"{KEY}:{GOOD.upper()}", RAW, "Invalid signature"),
    "longer": (f"{KEY}:{GOOD}0", RAW, "Invalid signature"),
    "shorter": (f"{KEY}:{GOOD[:-1]}", RAW, "Invalid signature"),
    "key twice": (f"{KEY}:{KEY}:{GOOD}", RAW, "Invalid signature"),
    "not ASCII": (f"{KEY}:ü", RAW, "Invalid signature"),
    "other spacing": (f"{KEY}:{GOOD}", '{"id": "ann"}', "Invalid signature"),
    "other user": (f"{KEY}:{GOOD}", '{"id":"bea"}', "Invalid signature"),
    "other socket": (f"{KEY}:{sign(SECRET, user_string('1234.1235', RAW))}", RAW, "Invalid signature"),
    "a channel's": (f"{KEY}:{sign(SECRET, f'{SOCKET_ID}:{RAW}')}", RAW, "Invalid signature"),
    "other secret": (f"{KEY}:{sign('secret', user_string(SOCKET_ID, RAW))}", RAW, "Invalid signature"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_connection_refuses_a_sign_in_when_the_auth_is_wrong(case: str) -> None:
    """4009 is told, no digest is given away, and nothing has changed: a good sign-in goes through."""
    connection = make()
    auth, raw, text = REFUSALS[case]
    actions = connection.receive(SignIn(auth, raw))
    code, message = error_of(actions)
    assert (code, actions[1:]) == (4009, (Refused(Refusal.SIGN_IN),))
    assert text in message
    assert sign(SECRET, user_string(SOCKET_ID, raw)) not in message.removesuffix(auth.partition(":")[2])
    assert (connection.phase, connection.user, connection.claims) == (Phase.OPEN, None, 0)
    assert claim(connection, sign_in()).number == 1


@pytest.mark.parametrize(
    "raw",
    ["", "ann", "[]", "{}", '{"id":1}', '{"id":""}', '{"id":null}', '{"id":"a\\n"}', '{"id":"ann","watchlist":"bea"}'],
)
def test_connection_refuses_a_sign_in_when_the_signed_user_data_is_no_user(raw: str) -> None:
    """A backend's mistake is told with 4009, and the connection stays as it was."""
    connection = make()
    actions = connection.receive(SignIn(**sign_in_data(SOCKET_ID, APP, raw)))
    assert (error_of(actions)[0], actions[1:]) == (4009, (Refused(Refusal.SIGN_IN),))
    assert (connection.phase, connection.user) == (Phase.OPEN, None)


def test_connection_refuses_to_look_at_user_data_that_nobody_signed() -> None:
    """The signature is checked first, so no stranger learns what user data must be."""
    assert "Invalid signature" in error_of(make().receive(SignIn(f"{KEY}:0", "no JSON")))[1]


@pytest.mark.parametrize("confirmed", [False, True])
def test_connection_refuses_another_user_and_keeps_its_own(confirmed: bool) -> None:
    """Before and after the confirmation (protocol.md 2.6)."""
    connection = make()
    first = claim(connection, sign_in("ann", ["bea"]))
    if confirmed:
        connection.signed_in(first)
    phase = connection.phase
    actions = connection.receive(sign_in("bea"))
    assert (error_of(actions)[0], actions[1:]) == (4009, (Refused(Refusal.SIGN_IN),))
    assert (connection.phase, connection.user, connection.claims) == (phase, first.user, first.number)


@pytest.mark.parametrize("confirmed", [False, True])
def test_connection_keeps_its_user_when_a_later_sign_in_is_wrong(confirmed: bool) -> None:
    """A failure leaves it as it was, and the claim that waits is still the newest."""
    connection = make()
    first = claim(connection, sign_in("ann", ["bea"]))
    if confirmed:
        connection.signed_in(first)
    phase = connection.phase
    assert told(connection.receive(sign_in("ann", secret="x"))) == ["error 4009"]
    assert (connection.phase, connection.user, connection.claims) == (phase, first.user, first.number)


def test_connection_claims_again_when_its_user_signs_in_again() -> None:
    """The old watchlist holds until the new claim is confirmed."""
    connection = make()
    first = claim(connection, sign_in("ann", ["bea"]))
    connection.signed_in(first)
    second = claim(connection, sign_in("ann", ["cid"]))
    assert (second.number, second.user.watchlist) == (2, ("cid",))
    assert (connection.phase, connection.user) == (Phase.SIGNED_IN, first.user)
    assert told(connection.signed_in(second)) == ["signed in ann"]
    assert connection.user == second.user


def test_connection_repeats_the_very_user_data_that_it_received() -> None:
    """Spacing, escapes and other fields included (protocol.md 2.4)."""
    raw = '{ "id" : "ann", "n": 1.50, "x":"\\u00fc" }'
    connection = make()
    (success,) = connection.signed_in(claim(connection, SignIn(**sign_in_data(SOCKET_ID, APP, raw))))
    assert read_message(success.frame) == {"event": "pusher:signin_success", "data": {"user_data": raw}}


def test_connection_cuts_a_watchlist_over_the_limit_and_tells_4302_after_the_success() -> None:
    """The first 100 count; the message says so (protocol.md 4.2)."""
    connection = make()
    made = claim(connection, sign_in("ann", list(map(str, range(101)))))
    assert (made.cut, made.user.watchlist) == (True, tuple(map(str, range(100))))
    success, error = connection.signed_in(made)
    assert describe(success.frame) == "signed in ann"
    expected = "Watchlist limit exceeded. Only the first 100 user IDs are accepted."
    assert read_error(read_message(error.frame)) == (4302, expected)


@pytest.mark.parametrize(
    ("limit", "watchlist", "cut"),
    [
        (3, ["a", "b", "c"], False),
        (3, ["a", "b", "a", "c", "b", 7, None, "", "c"], False),
        (3, ["a", "a", "b", "c", "d"], True),
        (0, ["a"], True),
        (0, [], False),
    ],
)
def test_connection_counts_each_valid_id_of_a_watchlist_once(limit: int, watchlist: list[object], cut: bool) -> None:
    """What is nobody, or there twice, does not use up the limit."""
    made = claim(make(watchlist_limit=limit), sign_in("ann", watchlist))
    assert made.cut is cut
    assert made.user.watchlist == ("a", "b", "c")[:limit] * bool(watchlist)


def test_connection_ignores_the_watchlist_when_the_app_has_no_watchlist_events() -> None:
    """Nobody is watched, and no limit is exceeded."""
    connection = make(watchlist_events=False, watchlist_limit=1)
    made = claim(connection, sign_in("ann", ["a", "b"]))
    assert (made.user.watchlist, made.cut) == ((), False)
    assert told(connection.signed_in(made)) == ["signed in ann"]


# -- other messages ---------------------------------------------------------------------------------------------------


def signed_in(user: str = "ann", **settings: Any) -> Connection:
    """A connection that is signed in."""
    connection = make(**settings)
    connection.signed_in(claim(connection, sign_in(user)))
    return connection


@pytest.mark.parametrize("connection", [make(), signed_in()])
def test_connection_answers_a_ping_and_is_silent_to_a_pong(connection: Connection) -> None:
    """Both as events (protocol.md 1.3)."""
    assert told(connection.receive(Ping())) == ["pong"]
    assert connection.receive(Pong()) == ()


@pytest.mark.parametrize("user", ["ann", "e:1", "ü b", "a#b", "u" * 200])
def test_connection_acknowledges_its_own_channel_each_time(user: str) -> None:
    """SDKs wait for it, whatever the alphabet of the id."""
    connection = signed_in(user)
    for _ in range(2):
        (action,) = connection.receive(Subscribe(f"#server-to-user-{user}", ""))
        assert isinstance(action, Send)
        assert read_message(action.frame) == {
            "event": "pusher_internal:subscription_succeeded",
            "channel": f"#server-to-user-{user}",
            "data": "{}",
        }


@pytest.mark.parametrize(
    "channel", ["#server-to-user-bea", "#server-to-user-", "#server-to-user-ann ", "#server-to-user-ANN", "#ann", "#"]
)
def test_connection_refuses_every_other_reserved_channel(channel: str) -> None:
    """Signed in or not, also with a signature that would be right for it (protocol.md 3.1)."""
    auth = f"{KEY}:{sign(SECRET, f'{SOCKET_ID}:{channel}')}"
    for connection in (make(), signed_in("ann")):
        assert told(connection.receive(Subscribe(channel, auth))) == ["error 4009"]


def test_connection_refuses_its_own_channel_until_it_is_signed_in() -> None:
    """A claim is not enough."""
    connection = make()
    assert told(connection.receive(Subscribe("#server-to-user-ann"))) == ["error 4009"]
    claim(connection, sign_in("ann"))
    assert told(connection.receive(Subscribe("#server-to-user-ann"))) == ["error 4009"]


@pytest.mark.parametrize("channel", ["#server-to-user-ann", "#server-to-user-bea"])
def test_connection_is_silent_when_a_users_channel_is_left(channel: str) -> None:
    """SDKs say so when they clean up, signed in or not."""
    for connection in (make(), signed_in("ann")):
        assert connection.receive(Unsubscribe(channel)) == ()


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Unsubscribe("room"), "No current subscription to channel room, or subscription in progress"),
        (UnknownEvent("pusher:hello"), "Unsupported event received on socket: 'pusher:hello'"),
        (UnknownEvent("pusher_internal:x"), "Unsupported event received on socket: 'pusher_internal:x'"),
    ],
)
def test_connection_refuses_what_means_nothing_to_it_in_the_protocols_words(message: Message, text: str) -> None:
    """Without a code, since nothing is wrong with the connection (protocol.md 1.5)."""
    assert error_of(make().receive(message)) == (None, text)


@pytest.mark.parametrize(
    "message",
    [
        Subscribe("c" * 10_000),
        Subscribe("#" * 10_000),
        Unsubscribe("c" * 10_000),
        UnknownEvent("e" * 10_000),
        ClientEvent("client-x", "c" * 10_000, ""),
        SignIn("a" * 10_000, "u" * 10_000),
        SignIn("a" * 10_000 + ":", "u" * 10_000),
        SignIn(f"{KEY}:" + "a" * 10_000, "u" * 10_000),
    ],
)
def test_connection_repeats_only_the_beginning_of_a_long_text(message: Message) -> None:
    """An error is no way to make the server send much."""
    actions = make(client_events=True).receive(message)
    assert all(isinstance(action, Send | Refused) for action in actions)
    assert all(len(action.frame) < 2500 for action in actions if isinstance(action, Send))


# -- time -------------------------------------------------------------------------------------------------------------


def checks(connection: Connection, until: float) -> list[tuple[float, str]]:
    """What happens when a connection is looked at exactly when it wants to be, and nothing is heard."""
    happened = []
    while (now := connection.next_check(PACE)) <= until:
        for action in connection.check(now, PACE):
            match action:
                case Send(frame):
                    happened.append((now, describe(frame)))
                case Close(code):
                    return [*happened, (now, f"close {code}")]
    return happened


def test_connection_is_probed_twice_and_closed_when_it_stays_silent() -> None:
    """A WebSocket ping after half the activity timeout, an event after the whole, then 4201."""
    expected = [(60.0, "websocket ping"), (120.0, "ping"), (150.0, "close 4201")]
    assert checks(make(), until=1000) == expected


@pytest.mark.parametrize("silence", [59.5, 60.5, 119.5, 120.5, 149.5])
def test_connection_has_all_its_time_again_when_it_is_heard(silence: float) -> None:
    """No sign of life is too late within activity and pong timeout; the probes begin anew."""
    connection = make()
    assert "close 4201" not in [what for _, what in checks(connection, until=silence)]
    connection.touch(silence)
    assert [(at - silence, what) for at, what in checks(connection, until=1000)] == [
        (60.0, "websocket ping"),
        (120.0, "ping"),
        (150.0, "close 4201"),
    ]


def test_connection_is_not_probed_when_it_is_heard_often() -> None:
    """Checks that come too early, or for nothing, do nothing."""
    connection = make()
    for now in range(0, 1000, 50):
        connection.touch(float(now))
        assert checks(connection, until=now + 50) == []
        assert connection.check(now + 50.0, PACE) == ()


def test_connection_gets_one_probe_at_a_time_when_the_check_comes_late() -> None:
    """A node that slept does not send everything at once, and does not repeat itself."""
    connection = make()
    assert connection.check(125.0, PACE) == (Send(PING_EVENT),)
    assert connection.check(126.0, PACE) == ()
    assert connection.next_check(PACE) == 150.0
    other = make()
    assert other.check(61.0, PACE) == (Send(PING),)
    assert other.check(62.0, PACE) == ()


def test_connection_is_closed_with_4009_when_it_is_not_authorized_in_time() -> None:
    """Only where the app asks for it; the text is Pusher's (protocol.md 2.7)."""
    connection = make(now=5.0, require_authorization=True, authorization_timeout=30.0)
    assert connection.check(34.9, PACE) == ()
    assert connection.next_check(PACE) == 35.0
    connection.touch(34.9)
    assert connection.check(35.0, PACE) == (Close(4009, "Connection not authorized within timeout"),)
    assert make(authorization_timeout=30.0).check(35.0, PACE) == ()


@pytest.mark.parametrize("confirmed", [False, True])
def test_connection_has_no_deadline_any_more_when_its_user_was_proved(confirmed: bool) -> None:
    """A confirmation that takes long is not the client's fault: after 4009 it would stay away for good."""
    connection = make(require_authorization=True, authorization_timeout=30.0)
    made = claim(connection, sign_in())
    if confirmed:
        connection.signed_in(made)
    connection.touch(29.0)
    assert connection.check(31.0, PACE) == ()
    assert connection.next_check(PACE) == 89.0


def test_connection_keeps_its_deadline_when_a_sign_in_is_refused() -> None:
    """Trying is not enough."""
    connection = make(require_authorization=True, authorization_timeout=30.0)
    connection.receive(sign_in(secret="x"))
    (action,) = connection.check(30.0, PACE)
    assert isinstance(action, Close)


def test_user_data_is_the_json_that_the_helper_says() -> None:
    """The helpers sign what a backend would."""
    assert json.loads(user_data("ann", ["bea"])) == {"id": "ann", "watchlist": ["bea"]}
