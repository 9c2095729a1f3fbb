"""Subscriptions and client events: what may be, by protocol.md 6.1, 6.2, 6.5 and 7. Pure.

Everything here takes what is known of a connection and returns a value or raises a `ProtocolError`, whose words are for the
client. Rules for editing: a channel's name says what kind it is, and nothing else does; whatever a frame says of its sender
is not believed, unless the app signed it.
"""

from dataclasses import dataclass

from node.bucket import bucket_of
from node.config.apps import App
from node.protocol.channels import ChannelKind, is_valid_channel, kind_of
from node.protocol.errors import CloseCode, LimitError, ProtocolError, excerpt
from node.protocol.members import MemberData, member_of, parse_channel_data
from node.protocol.messages import ClientEvent, Subscribe
from node.protocol.signatures import channel_string, verify_signature
from node.protocol.user_data import UserData

_NAME_ECHO = 200
_EVENT_NAME_LIMIT = 200


@dataclass(eq=False, slots=True)
class Subscription:
    """One connection's subscription to one channel. `member`: who it is there, on presence channels only.

    It is equal to nothing but itself: one that was given up and begun again is another one.
    """

    channel: str
    kind: ChannelKind
    member: MemberData | None = None
    is_confirmed: bool = False  # success was told; events come, and may be sent


def check_name(app: App, channel: str) -> None:
    """Raise `ProtocolError` if there can be no such channel."""
    if not is_valid_channel(channel, app.channel_name_limit):
        allowed = f"letters, digits and _-=@,.; up to {app.channel_name_limit} characters"
        name = excerpt(channel, _NAME_ECHO)
        raise ProtocolError(CloseCode.UNAUTHORIZED, f"Invalid channel name: '{name}'. A name is made of {allowed}")


def authorize(app: App, socket_id: str, user: UserData | None, message: Subscribe) -> Subscription:
    """The subscription that a client asks for and may have. `user`: whom the connection is signed in as, if anyone.

    Raises `ProtocolError`, `LimitError` among them.
    """
    kind = kind_of(message.channel)
    if not kind.is_guarded:
        return Subscription(message.channel, kind)
    _verify(app, socket_id, message)
    member = _read_member(app, user, message) if kind.has_members else None
    return Subscription(message.channel, kind, member)


def _verify(app: App, socket_id: str, message: Subscribe) -> None:
    """Check the signature of a guarded channel. With an empty `channel_data`, either text may have been signed."""
    auth = message.auth or ""
    try:
        text = channel_string(socket_id, message.channel, message.channel_data)
        verify_signature(auth, text, app.key, app.secrets)
    except ProtocolError:
        if message.channel_data != "":
            raise
        verify_signature(auth, channel_string(socket_id, message.channel, None), app.key, app.secrets)


def _read_member(app: App, user: UserData | None, message: Subscribe) -> MemberData:
    """Who comes: `channel_data` wins; without it the signed-in user (protocol.md 2.8)."""
    if message.channel_data:
        return parse_channel_data(message.channel_data, app.presence_user_bytes)
    if user is None:
        needed = "sign in first, or send the channel_data that your server signed"
        raise ProtocolError(CloseCode.UNAUTHORIZED, f"Missing channel_data for a presence channel: {needed}")
    return member_of(user, app.presence_user_bytes)


def check_client_event(app: App, message: ClientEvent, subscription: Subscription | None) -> Subscription:
    """The subscription through which a client may send this event; `subscription` is what it has, if anything.

    Raises `ProtocolError`. The rate is another question: `next_client_event`.
    """
    channel = excerpt(message.channel, _NAME_ECHO)
    if not kind_of(message.channel).takes_client_events:
        only = "only private and presence channels take them, and no encrypted ones"
        raise ProtocolError(CloseCode.UNAUTHORIZED, f"Cannot broadcast client event to channel {channel}: {only}")
    if not app.client_events:
        raise ProtocolError(None, "To send client events, you must enable this feature for the app: client_events")
    if subscription is None or not subscription.is_confirmed:
        reason = f"connection not subscribed to channel {channel}"
        raise ProtocolError(CloseCode.UNAUTHORIZED, f"Cannot broadcast client event ({reason})")
    if len(message.event) > _EVENT_NAME_LIMIT:
        raise LimitError(f"The name of this event exceeds the allowed maximum ({_EVENT_NAME_LIMIT} characters)")
    limit = app.max_event_bytes
    if len(message.data) * 4 > limit and len(message.data.encode()) > limit:
        raise LimitError(f"The data content of this event exceeds the allowed maximum ({limit} bytes)")
    return subscription


def next_client_event(app: App, busy_until: float, now: float) -> float:
    """Take one client event of a connection's share (protocol.md 7). Raises `ProtocolError(4301)` when there is none.

    `busy_until`: what the last call returned, 0.0 before the first one. The bucket holds a second's worth.
    """
    rate = app.client_events_per_second
    if not rate:
        return busy_until
    if bucket_of(rate).wait(busy_until, now):
        raise ProtocolError(CloseCode.CLIENT_EVENT_RATE, "Client event rejected due to rate limit")
    return bucket_of(rate).take(busy_until, now)
