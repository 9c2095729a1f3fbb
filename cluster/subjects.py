"""The subjects of the cluster protocol; cluster/README.md has the table.

A *stem* is the part of a map's subject before the key: it names one shard of one app in one map, and is the shard's key in
the directory, on the wire too. Rule for editing: whoever changes a subject raises `VERSION`, so that nodes of both
versions can share a NATS without misreading each other.
"""

from zlib import crc32

from cluster.tokens import decode_token, encode_token

VERSION = "1"


class Subjects:
    """Every subject below one prefix. `prefix` is itself a valid subject; `shards` is equal in the whole cluster."""

    def __init__(self, prefix: str, shards: int) -> None:
        self.prefix = prefix
        self.shards = shards
        self.base = f"{prefix}.{VERSION}"
        """What all subjects start with."""
        self.nodes = f"{self.base}.nodes"
        """Heartbeats; every node listens."""

    def node(self, node: str) -> str:
        """Requests to one node; its interest is its sign of life."""
        return f"{self.base}.node.{node}"

    def replies(self, node: str) -> str:
        """Where one node hears answers: the pattern."""
        return f"{self.base}.node.{node}.*"

    def reply(self, node: str, token: str) -> str:
        """Where one node hears the answer to one request."""
        return f"{self.base}.node.{node}.{token}"

    def user(self, app: str, user: str) -> str:
        """Events, terminations and questions for a user; its holders listen."""
        return f"{self.base}.user.{encode_token(app)}.{encode_token(user)}"

    def channel(self, app: str, channel: str) -> str:
        """Events of a channel; nodes with subscribers listen."""
        return f"{self.base}.channel.{encode_token(app)}.{encode_token(channel)}"

    def index(self, by: str) -> int:
        """The number of the shard that a user or a channel belongs to."""
        return crc32(by.encode()) % self.shards

    def stem(self, name: str, app: str, by: str) -> str:
        """The shard of a map that a user or a channel belongs to."""
        return f"{name}.{encode_token(app)}.{self.index(by)}"

    def stems(self, name: str, app: str) -> list[str]:
        """All shards of an app in a map."""
        start = f"{name}.{encode_token(app)}."
        return [f"{start}{index}" for index in range(self.shards)]

    def change(self, stem: str, key: str) -> str:
        """Where a change of one entry of a shard is published."""
        return f"{self.base}.{stem}.{encode_token(key)}"

    def changes(self, stem: str) -> str:
        """All changes of a shard: the pattern; nodes that watch the shard listen."""
        return f"{self.base}.{stem}.*"


def app_of(stem: str) -> str:
    """The app id inside a stem."""
    return decode_token(stem.split(".")[1])


def map_of(stem: str) -> str:
    """The map inside a stem."""
    return stem.partition(".")[0]
