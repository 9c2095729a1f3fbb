"""Settings of a node: one frozen structure with everything that an operator can decide, but the apps.

`node/config/sources.py` fills it from a file, the environment and flags. Rules for whoever edits this file: every
key has its unit in its sentence, a range, and a default that suits production; paths are relative to the
working directory; the table in README.md is written from here by `python -m node.config.reference README.md`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from node.config.keys import Table, about
from node.config.webhooks import WebhookSettings

_DAY: Final = 86_400
_GIB: Final = 2**30

_Server = Annotated[str, Meta(pattern=r"^(nats|tls|ws|wss)://[^\s/]+")]


class Tls(Table, frozen=True):
    """TLS that the node itself ends, for clients and API alike."""

    certificate: Annotated[
        str, about("PEM file with the certificate chain, reloaded when it changes; empty: no TLS in the node.")
    ] = ""
    key: Annotated[str, about("PEM file with its private key.")] = ""


class NatsTls(Table, frozen=True):
    """TLS towards the NATS servers; `tls://` and `wss://` URLs use it, and all others once a key here is set."""

    ca: Annotated[str, about("PEM file of the authorities to trust; empty: the system's.")] = ""
    certificate: Annotated[str, about("PEM file with the client certificate, if the servers want one.")] = ""
    key: Annotated[str, about("PEM file with its private key.")] = ""
    hostname: Annotated[str, about("Name to expect in the servers' certificates; empty: the URL's.")] = ""


class Nats(Table, frozen=True):
    """The bus. Without servers the node is alone, and its bus is in the process."""

    servers: Annotated[
        tuple[_Server, ...],
        about(
            "URLs of the NATS servers, each `nats://host:port`; empty: a single node.",
            expected="a list of URLs that begin with nats://, tls://, ws:// or wss://",
        ),
    ] = ()
    user: Annotated[str, about("User name.")] = ""
    password: Annotated[str, about("Password.", secret=True)] = ""
    token: Annotated[str, about("Token, instead of user and password.", secret=True)] = ""
    credentials: Annotated[str, about("Credentials file (JWT and nkey seed).")] = ""
    nkey: Annotated[str, about("File with an nkey seed.")] = ""
    tls: NatsTls = NatsTls()
    prefix: Annotated[
        str,
        about(
            "First part of every subject; clusters that share NATS servers need different ones.",
            pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\Z",
            max_length=64,
            expected="a text of letters, digits, - and _, with single dots between",
        ),
    ] = "usher"
    connect_timeout: Annotated[float, about("Seconds for one attempt to connect.", gt=0, le=300)] = 5.0
    reconnect_wait: Annotated[float, about("Seconds between attempts to come back.", gt=0, le=300)] = 0.5
    ready_grace: Annotated[float, about("Seconds that the bus may be away before `/readyz` says so.", ge=0, le=3600)] = 5.0


class Cluster(Table, frozen=True):
    """How nodes know of each other. The same on every node."""

    heartbeat_interval: Annotated[float, about("Seconds between heartbeats.", gt=0, le=60)] = 1.0
    probe_after: Annotated[float, about("Seconds of silence until a node is asked.", gt=0, le=300)] = 2.0
    lease: Annotated[
        float, about("Seconds of silence until a node that seems to be there counts as down.", gt=0, le=3600)
    ] = 10.0
    fence_timeout: Annotated[float, about("Seconds that a sign-in waits for a peer that does not answer.", gt=0, le=60)] = (
        2.0
    )
    confirm_timeout: Annotated[
        float, about("Seconds that a sign-in waits for the bus before it is refused.", gt=0, le=300)
    ] = 10.0
    shards: Annotated[int, about("Shards of the presence directory; more suit more users per node.", ge=1, le=65_536)] = 256
    shard_linger: Annotated[float, about("Seconds that a shard is followed after its last watcher left.", ge=0, le=_DAY)] = (
        30.0
    )


class Presence(Table, frozen=True):
    """When a user is offline."""

    linger: Annotated[
        float,
        about("Seconds after a user's last close until they are offline: page reloads are silent.", ge=0, le=300),
    ] = 1.0
    drain_linger: Annotated[
        float,
        about("The same where a draining node closed: for users to sign in elsewhere, unseen.", ge=0, le=300),
    ] = 8.0


class WebSocket(Table, frozen=True):
    """Limits and timers of connections."""

    activity_timeout: Annotated[
        int, about("Seconds of silence until a client is pinged; clients are told.", ge=1, le=3600)
    ] = 120
    pong_timeout: Annotated[float, about("Further seconds until it is closed with 4201.", gt=0, le=600)] = 30.0
    close_timeout: Annotated[float, about("Seconds for the peer's half of a close.", gt=0, le=60)] = 5.0
    max_message_bytes: Annotated[
        int, about("Longest message from a client; longer ones close with 1009.", ge=1024, le=_GIB)
    ] = 131_072
    outbox_bytes: Annotated[
        int, about("Bytes that may wait for one client; beyond, it is closed with 4100.", ge=1024, le=_GIB)
    ] = 1_048_576


class Api(Table, frozen=True):
    """Limits of the HTTP API."""

    max_body_bytes: Annotated[int, about("Longest request body; 413 beyond.", ge=1024, le=_GIB)] = 1_048_576
    max_head_bytes: Annotated[int, about("Longest request line with headers; 431 beyond.", ge=1024, le=_GIB)] = 16_384
    max_target_bytes: Annotated[int, about("Longest path with query; 414 beyond.", ge=256, le=_GIB)] = 8192
    request_timeout: Annotated[
        float, about("Seconds for a whole request to arrive; a WebSocket's handshake is one.", gt=0, le=300)
    ] = 10.0
    keep_alive_timeout: Annotated[
        float, about("Seconds that a kept-alive connection may wait for its next request.", gt=0, le=3600)
    ] = 75.0


class LimitSettings(Table, frozen=True):
    """What one connection and one address may do. node/README.md says why the defaults are what they are."""

    messages_per_second: Annotated[
        float, about("Messages from one connection; its share of bytes counts, too. 0 sets no limit.", ge=0, le=1_000_000)
    ] = 100.0
    bytes_per_second: Annotated[
        float, about("Bytes from one connection; its share of messages counts, too. 0 sets no limit.", ge=0, le=_GIB)
    ] = 262_144.0
    burst: Annotated[
        float,
        about(
            "Seconds' worth of both that may come at once; beyond, `pusher:error`, beyond twice as much, 4100.",
            gt=0,
            le=3600,
        ),
    ] = 20.0
    failures_per_minute: Annotated[
        float,
        about(
            "Sign-ins, subscriptions and client events of one connection that are refused; beyond, signatures are not "
            "looked at, beyond twice as many, 4100. 0 sets no limit.",
            ge=0,
            le=1_000_000,
        ),
    ] = 100.0
    handshakes_per_second: Annotated[
        float,
        about(
            "WebSockets that one address (IPv6: one /64) may open on this node, 4100 beyond; 0 sets no limit. Only where "
            "the node sees clients' addresses: directly, or by `trust_forwarded`.",
            ge=0,
            le=1_000_000,
        ),
    ] = 0.0
    handshakes_burst: Annotated[float, about("How many of them may come at once.", ge=1, le=1_000_000)] = 100.0


class Watchlist(Table, frozen=True):
    """How watchlist events travel."""

    batch_interval: Annotated[
        float, about("Seconds over which changes gather into one event for a watcher.", ge=0, le=10)
    ] = 0.02


class Log(Table, frozen=True):
    """What is logged, to stderr."""

    level: Annotated[Literal["debug", "info", "warning", "error"], about("The least that is logged.")] = "info"
    format: Annotated[Literal["json", "console"], about("One JSON object for each line, or text for a terminal.")] = "json"


class Drain(Table, frozen=True):
    """How a node stops on SIGTERM. By default it takes less than the 30 s that Kubernetes grants."""

    delay: Annotated[
        float,
        about("Seconds that a stopping node serves on, not ready: until load balancers have noticed.", ge=0, le=3600),
    ] = 4.0
    spread: Annotated[
        float,
        about("Seconds over which its connections are closed, evenly: clients come back at that rate.", ge=0, le=3600),
    ] = 10.0
    timeout: Annotated[
        float, about("Seconds for what still waits for clients after the last close; then they are cut off.", gt=0, le=3600)
    ] = 8.0
    remote: Annotated[bool, about("Heed `POST /drain` on the operations port from other machines, too.")] = False


class Rebalance(Table, frozen=True):
    """Whether a node that stays sends clients to others, by closing with 4200. Off by default. The same on every node."""

    max_age: Annotated[
        float,
        about(
            "Seconds after which a connection is closed, for its client to come back anywhere; 0: never.", ge=0, le=30 * _DAY
        ),
    ] = 0.0
    jitter: Annotated[
        float, about("The part of `max_age` by which each connection's own is longer or shorter.", ge=0, le=0.9)
    ] = 0.2
    skew: Annotated[
        float,
        about(
            "A node that has more connections than so many times the mean sheds some, `1.2` say; up to 1: never.",
            ge=0,
            le=100,
        ),
    ] = 0.0
    surplus: Annotated[int, about("Connections above the mean that are too few to shed.", ge=1, le=1_000_000)] = 50
    shed_rate: Annotated[
        float, about("Connections that a node sheds in a second, at most: they sign in again at that rate.", gt=0, le=1000)
    ] = 10.0
    settle: Annotated[
        float, about("Seconds that a new node has to fill by itself, before others shed for it.", ge=0, le=_DAY)
    ] = 60.0


class Settings(Table, frozen=True):
    """Everything that an operator can decide, but the apps."""

    host: Annotated[str, about("Address to listen on, for clients and API; `0.0.0.0` or `::` for all.")] = "127.0.0.1"
    port: Annotated[int, about("Port for clients and API; 0 takes a free one.", ge=0, le=65_535)] = 6001
    ops_host: Annotated[str, about("Address for `/metrics`, `/livez` and `/readyz`.")] = "127.0.0.1"
    ops_port: Annotated[int, about("Port for them; 0 takes a free one.", ge=0, le=65_535)] = 9601
    max_waiting: Annotated[
        int,
        about(
            "Connections that have not sent a whole request yet; beyond, the oldest of them is closed.", ge=1, le=1_000_000
        ),
    ] = 1000
    trust_forwarded: Annotated[
        bool, about("Believe `X-Forwarded-Proto` and `-For`: only behind a proxy that always sets them.")
    ] = False
    path_prefix: Annotated[
        str,
        about(
            "Path in front of `/app/<key>` and `/apps/...`, such as `/realtime`.",
            pattern=r"^((/[A-Za-z0-9._~-]+)+)?\Z",
            expected="a path that begins with / and does not end with it, or an empty text",
        ),
    ] = ""
    name: Annotated[str, about("Name of the node in the connection lists of NATS; empty: the host's name.")] = ""
    apps: Annotated[str, about("File with the apps.", min_length=1)] = "apps.toml"
    tls: Tls = Tls()
    nats: Nats = Nats()
    cluster: Cluster = Cluster()
    presence: Presence = Presence()
    websocket: WebSocket = WebSocket()
    api: Api = Api()
    limits: LimitSettings = LimitSettings()
    watchlist: Watchlist = Watchlist()
    webhooks: WebhookSettings = WebhookSettings()
    log: Log = Log()
    drain: Drain = Drain()
    rebalance: Rebalance = Rebalance()
