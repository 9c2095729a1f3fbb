"""What travels on the bus: msgpack arrays `[version, kind, *fields]`, one Struct per kind.

`decode` returns a message or raises `EnvelopeError`, whatever the bytes. Rules for editing: fields are only ever added at
the end, with a default, so that nodes of neighbouring versions understand each other during a rolling update (`decode`
ignores fields that it does not know); anything else raises `VERSION`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgpack
import msgspec

VERSION = 1


class EnvelopeError(ValueError):
    """Bytes from the bus that are not a message of this version."""


class _Envelope(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What all kinds share. Made a hundred thousand times a second: a frozen dataclass would take five times as long."""

    KIND: ClassVar[str]


class Heartbeat(_Envelope, frozen=True):
    """A node lives. `numbers` names shards that changed lately, with the number of their last change."""

    KIND: ClassVar[str] = "heartbeat"
    node: str
    server: str
    number: int
    shards: int
    numbers: Mapping[str, int] = {}
    hello: bool = False
    leaving: bool = False
    connections: int = 0
    users: int = 0
    apps: Mapping[str, int] = {}  # connections by app
    takes_clients: bool = True  # False while it starts, and from the moment that it is told to leave


class Change(_Envelope, frozen=True):
    """One entry of a shard went up (`value` is not None) or down. `age`: seconds since the cause, by the writer's clock."""

    KIND: ClassVar[str] = "change"
    node: str
    shard: str
    number: int
    key: str
    value: Any
    age: float = 0.0


class Ask(_Envelope, frozen=True):
    """`node` asks the receiver for its part of these shards; a `Snapshot` each goes to the asker's own subject."""

    KIND: ClassVar[str] = "ask"
    node: str
    shards: tuple[str, ...]


class Snapshot(_Envelope, frozen=True):
    """All entries of `node` in a shard as of change `number`; `part` of `parts`, sent back to back."""

    KIND: ClassVar[str] = "snapshot"
    node: str
    shard: str
    number: int
    part: int
    parts: int
    entries: Mapping[str, Any]


class Ping(_Envelope, frozen=True):
    """Probe and fence: answer with `Pong`."""

    KIND: ClassVar[str] = "ping"


class Pong(_Envelope, frozen=True):
    """`node` has handled everything that was sent to it before the ping."""

    KIND: ClassVar[str] = "pong"
    node: str


class UserEvent(_Envelope, frozen=True):
    """An encoded frame for every connection of a user but one."""

    KIND: ClassVar[str] = "event"
    app: str
    user: str
    frame: bytes
    except_socket_id: str | None = None


class ChannelEvent(_Envelope, frozen=True):
    """An encoded frame for every subscriber of a channel but one.

    `ttl`: for how many seconds the frame is kept for later subscribers, 0 for most. The member that sends it sets `stamp`
    (µs since 1970) and `node`, which order what is kept of one channel.
    """

    KIND: ClassVar[str] = "channel_event"
    app: str
    channel: str
    frame: bytes
    except_socket_id: str | None = None
    ttl: float = 0.0
    stamp: int = 0
    node: str = ""


class Terminate(_Envelope, frozen=True):
    """Close the user's connections, then answer with `Answer`."""

    KIND: ClassVar[str] = "terminate"
    app: str
    user: str


class Question(_Envelope, frozen=True):
    """How many connections does the user have? Answer with `Answer`."""

    KIND: ClassVar[str] = "question"
    app: str
    user: str


class Answer(_Envelope, frozen=True):
    """A holder's connections of a user, and the other holders that it knows of, so that the asker knows whom to await."""

    KIND: ClassVar[str] = "answer"
    node: str
    connections: int
    holders: tuple[str, ...] = ()


class Holding(_Envelope, frozen=True):
    """`node` became a holder of a user, or ceased to be one. `echo`: the receiver is asked to say that it is one too."""

    KIND: ClassVar[str] = "holding"
    node: str
    app: str
    user: str
    held: bool
    echo: bool = False


class Keep(_Envelope, frozen=True):
    """The last event of a cache channel, for one of its keepers; and a keeper's answer to `Recall`.

    `ttl`: the seconds that are left to it; 0 and no frame: there is none.
    """

    KIND: ClassVar[str] = "keep"
    app: str
    channel: str
    frame: bytes
    ttl: float
    stamp: int = 0
    node: str = ""


class Recall(_Envelope, frozen=True):
    """What is the last event of the channel? Answer with `Keep`."""

    KIND: ClassVar[str] = "recall"
    app: str
    channel: str


class Missed(_Envelope, frozen=True):
    """Somebody found nothing kept of the channel; its keepers may want to tell."""

    KIND: ClassVar[str] = "missed"
    app: str
    channel: str


Directed = Ask | Snapshot | Ping | Pong | Question | Answer | Keep | Recall | Missed
Message = Heartbeat | Change | UserEvent | ChannelEvent | Terminate | Holding | Directed
_KINDS: dict[str, type[Message]] = {
    kind.KIND: kind
    for kind in (
        Heartbeat,
        Change,
        Ask,
        Snapshot,
        Ping,
        Pong,
        UserEvent,
        ChannelEvent,
        Terminate,
        Question,
        Answer,
        Holding,
        Keep,
        Recall,
        Missed,
    )
}


def encode(message: Message) -> bytes:
    """The message as bytes for the bus."""
    packed: bytes = msgpack.packb((VERSION, message.KIND, *msgspec.structs.astuple(message)))
    return packed


def decode(payload: bytes) -> Message:
    """The message in bytes from the bus; raises `EnvelopeError` and nothing else."""
    try:
        items = msgpack.unpackb(payload, use_list=False)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise EnvelopeError(f"not msgpack: {error}") from error
    if not isinstance(items, tuple) or len(items) < 2 or items[0] != VERSION:
        raise EnvelopeError(f"expected an array that starts with version {VERSION}")
    kind = _KINDS.get(items[1]) if isinstance(items[1], str) else None
    if kind is None:
        raise EnvelopeError("unknown kind of message")
    try:
        return msgspec.convert(items[2:], kind, builtin_types=(bytes,))  # what comes after the last field is ignored
    except msgspec.ValidationError as error:
        raise EnvelopeError(f"{kind.KIND}: {error}") from error
