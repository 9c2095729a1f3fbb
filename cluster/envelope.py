"""What travels on the bus: msgpack arrays `[version, kind, *fields]`, one dataclass per kind.

`decode` returns a message or raises `EnvelopeError`, whatever the bytes. Rules for editing: fields are only ever added at
the end, with a default, so that nodes of neighbouring versions understand each other during a rolling update (`decode`
ignores fields that it does not know); anything else raises `VERSION`.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

import msgpack

VERSION = 1


class EnvelopeError(ValueError):
    """Bytes from the bus that are not a message of this version."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A node lives. `numbers` names shards that changed lately, with the number of their last change."""

    KIND: ClassVar[str] = "heartbeat"
    node: str
    server: str
    number: int
    shards: int
    numbers: Mapping[str, int] = field(default_factory=dict)
    hello: bool = False
    leaving: bool = False
    connections: int = 0
    users: int = 0
    apps: Mapping[str, int] = field(default_factory=dict)  # connections by app


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of a shard went up (`value` is not None) or down. `age`: seconds since the cause, by the writer's clock."""

    KIND: ClassVar[str] = "change"
    node: str
    shard: str
    number: int
    key: str
    value: Any
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class Ask:
    """`node` asks the receiver for its part of these shards; a `Snapshot` each goes to the asker's own subject."""

    KIND: ClassVar[str] = "ask"
    node: str
    shards: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All entries of `node` in a shard as of change `number`; `part` of `parts`, sent back to back."""

    KIND: ClassVar[str] = "snapshot"
    node: str
    shard: str
    number: int
    part: int
    parts: int
    entries: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ping:
    """Probe and fence: answer with `Pong`."""

    KIND: ClassVar[str] = "ping"


@dataclass(frozen=True, slots=True)
class Pong:
    """`node` has handled everything that was sent to it before the ping."""

    KIND: ClassVar[str] = "pong"
    node: str


@dataclass(frozen=True, slots=True)
class UserEvent:
    """An encoded frame for every connection of a user but one."""

    KIND: ClassVar[str] = "event"
    app: str
    user: str
    frame: bytes
    except_socket_id: str | None = None


@dataclass(frozen=True, slots=True)
class ChannelEvent:
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


@dataclass(frozen=True, slots=True)
class Terminate:
    """Close the user's connections, then answer with `Answer`."""

    KIND: ClassVar[str] = "terminate"
    app: str
    user: str


@dataclass(frozen=True, slots=True)
class Question:
    """How many connections does the user have? Answer with `Answer`."""

    KIND: ClassVar[str] = "question"
    app: str
    user: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A holder's connections of a user, and the other holders that it knows of, so that the asker knows whom to await."""

    KIND: ClassVar[str] = "answer"
    node: str
    connections: int
    holders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Holding:
    """`node` became a holder of a user, or ceased to be one. `echo`: the receiver is asked to say that it is one too."""

    KIND: ClassVar[str] = "holding"
    node: str
    app: str
    user: str
    held: bool
    echo: bool = False


@dataclass(frozen=True, slots=True)
class Keep:
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


@dataclass(frozen=True, slots=True)
class Recall:
    """What is the last event of the channel? Answer with `Keep`."""

    KIND: ClassVar[str] = "recall"
    app: str
    channel: str


Directed = Ask | Snapshot | Ping | Pong | Question | Answer | Keep | Recall
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
    )
}
_TYPES: dict[Any, type] = {str: str, int: int, bool: bool, bytes: bytes, float: float}
_FIELDS = {kind: tuple(f for f in fields(kind)) for kind in _KINDS.values()}


def encode(message: Message) -> bytes:
    """The message as bytes for the bus."""
    values = [getattr(message, f.name) for f in _FIELDS[type(message)]]
    packed: bytes = msgpack.packb([VERSION, message.KIND, *values])
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
    return kind(*_checked(kind, items[2:]))


def _checked(kind: type[Message], values: tuple[Any, ...]) -> list[Any]:
    """The values that the kind's fields take, each of the field's type; later versions' extra values are dropped."""
    specs = _FIELDS[kind]
    required = sum(f.default is MISSING and f.default_factory is MISSING for f in specs)
    if len(values) < required:
        raise EnvelopeError(f"{kind.KIND}: expected {required} fields, got {len(values)}")
    for spec, value in zip(specs, values, strict=False):
        if not _fits(value, spec.type):
            raise EnvelopeError(f"{kind.KIND}: {spec.name} is a {type(value).__name__}")
    return list(values[: len(specs)])


def _fits(value: object, annotation: Any) -> bool:
    if annotation is Any:
        return True
    if (plain := _TYPES.get(annotation)) is not None:
        return type(value) is plain or (plain is float and type(value) is int)
    if annotation == (str | None):
        return value is None or type(value) is str
    if annotation == tuple[str, ...]:
        return type(value) is tuple and all(type(item) is str for item in value)
    if not isinstance(value, dict) or not all(type(key) is str for key in value):
        return False
    return annotation != Mapping[str, int] or all(type(item) is int for item in value.values())
