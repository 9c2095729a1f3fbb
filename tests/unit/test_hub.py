"""Connections of a node: opened or refused, kept alive or closed, and forgotten without a trace (protocol.md 1)."""

import json
import re

import pytest
import structlog
import trio
from trio.testing import MockClock

from node.config.apps import App, Apps
from node.connection import Connection, Pace
from node.hub import Hub, HubSettings
from node.metrics import Metrics
from node.transport.seam import Upgrade
from tests.unit.protocol.wire import KEY, SECRET, read_message
from tests.unit.support import APP, OTHER_APP, QUIET, Client, FakeTransport, Node, read_error, run_nodes, settle


def app_with(**settings: object) -> App:
    """An app with these settings."""
    return App(**({"id": "1001", "key": KEY, "secrets": (SECRET,)} | settings))  # type: ignore[arg-type]


# -- opening ----------------------------------------------------------------------------------------------------------


async def test_hub_establishes_a_connection_with_its_first_frame(autojump_clock: MockClock) -> None:
    """Data is a string, the id is what SDKs accept, and the timeout is not 0 (protocol.md 1.2)."""
    async with run_nodes() as (node,):
        client = Client(node.hub)
        (frame,) = client.transport.frames
        message = read_message(frame)
        assert message["event"] == "pusher:connection_established"
        assert set(message) == {"event", "data"}
        assert json.loads(message["data"]) == {"socket_id": client.socket_id, "activity_timeout": 120}
        assert node.gauges() == (1, 0, 0, 0)


async def test_hub_draws_socket_ids_that_sdks_accept_and_nobody_guesses(autojump_clock: MockClock) -> None:
    """Two numbers of many digits, never the same twice."""
    async with run_nodes() as (node,):
        ids = {Client(node.hub).socket_id for _ in range(300)}
    assert len(ids) == 300
    assert all(re.fullmatch(r"\d+\.\d+", socket_id) for socket_id in ids)
    assert len({socket_id.partition(".")[0] for socket_id in ids}) == 300
    assert sum(map(len, ids)) / len(ids) > 30


async def test_hub_announces_an_activity_timeout_of_a_second_when_it_is_shorter(autojump_clock: MockClock) -> None:
    """With 0 pusher-js throws the connection away."""
    async with run_nodes(pace=Pace(0.5, 0.5)) as (node,):
        data = read_message(Client(node.hub).transport.frames[0])["data"]
    assert json.loads(data)["activity_timeout"] == 1


def refusal(hub: Hub, upgrade: Upgrade) -> tuple[int | None, str]:
    """How a WebSocket is refused: an error with an integer code first, then a close with the same."""
    transport = FakeTransport()
    receiver = hub.open(upgrade, transport)
    (frame,) = transport.frames
    code, message = read_error(read_message(frame))
    assert code == transport.close_code
    assert type(code) is int
    receiver.touch(trio.current_time(), 1, 0)
    receiver.receive('{"event":"pusher:ping","data":{}}')
    receiver.receive("[")
    receiver.closed()
    assert transport.frames == [frame]
    return code, message


def bare_hub(*apps: App, prefix: str = "") -> Hub:
    """A hub whose timers do not run."""
    return Hub(Apps(apps or [APP]), Metrics(), HubSettings(Pace(), prefix))


def upgrade_to(
    path: str = f"/app/{KEY}", query: str = "protocol=7", *, origin: str | None = None, secure: bool = False
) -> Upgrade:
    """What a client asks for."""
    return Upgrade(path, query, origin, "127.0.0.1:1", secure)


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/app/nobody", "protocol=7", 4001),
        ("/app/", "protocol=7", 4005),
        ("/", "protocol=7", 4005),
        (f"/app/{KEY}/x", "protocol=7", 4005),
        (f"/ws/app/{KEY}", "protocol=7", 4005),
        (f"/app/{KEY}", "protocol=seven", 4006),
        (f"/app/{KEY}", "protocol=-7", 4006),
        (f"/app/{KEY}", "protocol=3", 4007),
        (f"/app/{KEY}", "protocol=8", 4007),
        (f"/app/{KEY}", "client=js&version=8.6.0", 4008),
        (f"/app/{KEY}", "", 4008),
    ],
)
async def test_hub_refuses_what_it_cannot_serve(path: str, query: str, code: int) -> None:
    """Unknown apps and paths, and protocols that are none, or not spoken (protocol.md 1.1, 1.4)."""
    assert refusal(bare_hub(), upgrade_to(path, query))[0] == code


async def test_hub_refuses_an_unknown_app_in_pushers_words() -> None:
    """People search for this text."""
    text = "App key nobody not in this cluster. Did you forget to specify the cluster?"
    assert refusal(bare_hub(), upgrade_to("/app/nobody")) == (4001, text)


@pytest.mark.parametrize("query", [f"protocol={number}&flash=false&x=%FF" for number in (4, 5, 6, 7)])
async def test_hub_takes_clients_of_protocols_4_to_7(query: str) -> None:
    """Java and .NET speak 5; unknown parameters do not matter."""
    transport = FakeTransport()
    bare_hub().open(upgrade_to(query=query), transport)
    assert transport.close_code is None


async def test_hub_refuses_a_disabled_app_before_anything_else_is_said_of_it() -> None:
    """4003."""
    app = app_with(enabled=False, require_tls=True, allowed_origins=("https://a.example",), max_connections=1)
    assert refusal(bare_hub(app), upgrade_to(origin="https://b.example"))[0] == 4003


async def test_hub_refuses_plain_connections_when_the_app_demands_tls() -> None:
    """4000; behind a proxy that says so, a connection is secure."""
    hub = bare_hub(app_with(require_tls=True))
    assert refusal(hub, upgrade_to())[0] == 4000
    transport = FakeTransport()
    hub.open(upgrade_to(secure=True), transport)
    assert transport.close_code is None


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("https://a.example.com", True), (None, True), ("https://example.org", False), ("http://a.example.com", False)],
)
async def test_hub_refuses_other_origins_when_the_app_names_some(origin: str | None, allowed: bool) -> None:
    """4009 and Pusher-compatible words; clients that are no browsers have no origin."""
    hub = bare_hub(app_with(allowed_origins=("https://*.example.com",)))
    if not allowed:
        assert refusal(hub, upgrade_to(origin=origin)) == (4009, "Origin not allowed")
        return
    transport = FakeTransport()
    hub.open(upgrade_to(origin=origin), transport)
    assert transport.close_code is None


@pytest.mark.parametrize("path", [f"/live/app/{KEY}", f"/app/{KEY}"])
async def test_hub_finds_the_app_with_and_without_its_path_prefix(path: str) -> None:
    """A proxy passes it on, or strips it."""
    transport = FakeTransport()
    bare_hub(prefix="/live").open(upgrade_to(path), transport)
    assert transport.close_code is None


async def test_hub_refuses_connections_over_the_quota_until_one_has_gone(autojump_clock: MockClock) -> None:
    """4004, for this app only; refused ones do not count (protocol.md 1.4)."""
    async with run_nodes(app_with(max_connections=2), OTHER_APP) as (node,):
        clients = [Client(node.hub) for _ in range(2)]
        for _ in range(3):
            assert refusal(node.hub, upgrade_to())[0] == 4004
        assert Client(node.hub, OTHER_APP).close_code is None
        clients[0].end()
        assert Client(node.hub).close_code is None
        assert refusal(node.hub, upgrade_to())[0] == 4004
        assert node.gauges() == (2, 0, 0, 0)
        assert node.value("closes_total", code="4004") == 4


async def test_connection_keeps_its_app_when_the_apps_are_replaced(autojump_clock: MockClock) -> None:
    """Secrets that were right when it was opened stay right; newcomers see the new apps."""
    apps = Apps([APP])
    async with run_nodes() as (node,):
        node.hub._apps = apps
        client = Client(node.hub)
        apps.replace([OTHER_APP])
        client.sign_in("ann")
        await settle()
        assert client.read() == ["signed in ann"]
        assert Client(node.hub).close_code == 4001


# -- messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["", "hello", "[]", "1", "null", "{}", '{"event":1}', '{"data":{}}', '{"event":"x"', "\ud800", "[" * 100_000],
)
async def test_hub_answers_a_malformed_message_and_keeps_the_connection(autojump_clock: MockClock, text: str) -> None:
    """With an error without a code (protocol.md 1.6)."""
    async with run_nodes() as (node,):
        client = Client(node.hub)
        client.say_text(text)
        assert client.read() == ["error None"]
        client.say("pusher:ping", {})
        assert client.read() == ["pong"]
        assert node.value("messages_received_total", kind="malformed") == 1
        assert node.value("messages_received_total", kind="ping") == 1


async def test_hub_takes_data_that_is_a_string_of_json(autojump_clock: MockClock) -> None:
    """As some SDKs send it."""
    async with run_nodes() as (node,):
        client = Client(node.hub)
        client.say("pusher:subscribe", json.dumps({"channel": "#server-to-user-ann"}))
        client.say("pusher:ping", "{}")
        assert client.read() == ["error 4009", "pong"]


async def test_hub_hears_nothing_from_a_connection_that_it_has_closed(autojump_clock: MockClock) -> None:
    """Messages that were on their way change nothing."""
    async with run_nodes() as (node,):
        client = Client(node.hub)
        client.sign_in("ann", ["bea"])
        await settle()
        node.hub.users.terminate(APP.id, "ann")
        frames = len(client.transport.frames)
        for text in ('{"event":"pusher:ping","data":{}}', "["):
            client.receiver.receive(text)
        client.receiver.touch(trio.current_time(), 1, 0)
        client.end()
        client.receiver.closed()
        assert len(client.transport.frames) == frames
        assert node.gauges() == (0, 0, 0, 0)


class BugError(Exception):
    """Something that must not happen."""


async def test_bug_in_a_handler_ends_one_connection_only(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged without what the client said, and the client may come back in a second."""
    async with run_nodes() as (node,):
        victim, other = Client(node.hub), Client(node.hub)

        def fail(*_: object) -> None:
            raise BugError

        with monkeypatch.context() as patch, structlog.testing.capture_logs() as logs:
            patch.setattr(Connection, "receive", fail)
            victim.say("pusher:ping", {"secret": "s3cret"})
        assert victim.read() == ["error 4100"]
        assert victim.close_code == 4100
        other.say("pusher:ping", {})
        assert other.read() == ["pong"]
        assert node.gauges() == (1, 0, 0, 0)
        node.expected_errors = 1
        (entry,) = logs
        assert "s3cret" not in str(entry)


async def test_bug_in_a_timer_ends_one_connection_only(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other timers go on."""
    async with run_nodes() as (node,):
        victim = Client(node.hub)
        check = Connection.check

        def fail(connection: Connection, now: float, pace: Pace) -> object:
            if connection.transport is victim.transport:
                raise BugError
            return check(connection, now, pace)

        monkeypatch.setattr(Connection, "check", fail)
        other = Client(node.hub)
        await trio.sleep(130)
        assert victim.read() == ["error 4100"]
        assert other.read() == ["websocket ping", "ping"]
        node.expected_errors = 1


# -- time -------------------------------------------------------------------------------------------------------------


async def test_silent_client_is_probed_and_then_closed_with_4201(autojump_clock: MockClock) -> None:
    """Within half a second of the times that the settings give; the error's words are reverb's."""
    async with run_nodes() as (node,):
        client, start = Client(node.hub), trio.current_time()
        for at, expected in ((60, "websocket ping"), (120, "ping"), (150, "error 4201")):
            await trio.sleep_until(start + at - 0.001)
            assert client.read() == []
            assert client.close_code is None
            await trio.sleep_until(start + at + 0.5)
            assert client.read() == [expected]
        assert (client.close_code, client.transport.reason) == (4201, "Pong reply not received in time")
        assert node.gauges() == (0, 0, 0, 0)
        assert node.value("closes_total", code="4201") == 1


@pytest.mark.parametrize("silence", [59.0, 119.0, 149.9])
async def test_client_is_never_closed_when_it_is_heard_in_time(autojump_clock: MockClock, silence: float) -> None:
    """Any bytes count: here it only answers WebSocket pings, if that."""
    async with run_nodes() as (node,):
        client = Client(node.hub)
        for _ in range(20):
            await trio.sleep(silence)
            client.receiver.touch(trio.current_time(), 1, 0)
        assert client.close_code is None
        await trio.sleep(150.5)
        assert client.close_code == 4201


async def test_unauthorized_client_is_closed_when_the_app_asks_for_it(autojump_clock: MockClock) -> None:
    """A refused sign-in does not help, a good one does; busy or not (protocol.md 2.7)."""
    app = app_with(require_authorization=True, authorization_timeout=10.0)
    async with run_nodes(app) as (node,):
        silent, refused, good = (Client(node.hub, app) for _ in range(3))
        refused.sign_in("ann", secret="x")
        good.sign_in("ann")
        await trio.sleep(9.9)
        good.read()
        assert [silent.close_code, refused.close_code] == [None, None]
        refused.say("pusher:ping", {})
        await trio.sleep(0.6)
        assert silent.read() == ["error 4009"]
        assert refused.read() == ["error 4009", "pong", "error 4009"]
        assert [silent.close_code, refused.close_code, good.close_code] == [4009, 4009, None]
        await trio.sleep(40)
        assert good.read() == []


# -- closing ----------------------------------------------------------------------------------------------------------


async def test_hub_counts_what_waits_in_all_outboxes(autojump_clock: MockClock) -> None:
    """Of connections that are open."""
    async with run_nodes() as (node,):
        assert node.hub.buffered == 0
        clients = [Client(node.hub) for _ in range(2)]
        assert node.hub.buffered == sum(client.transport.buffered for client in clients) > 0
        clients[0].end()
        assert node.hub.buffered == clients[1].transport.buffered


async def churn(node: Node, app: App) -> None:
    """Clients of every kind of life and end."""
    ends = [Client(node.hub, app) for _ in range(4)]
    for number, client in enumerate(ends[1:]):
        client.sign_in(f"user{number % 2}", ["user0", "user1", "nobody"])
    ends[2].end()  # while it is confirmed
    await settle()
    ends[3].sign_in("user0", ["user1"])
    ends[1].sign_in("user0", [])
    await settle()
    node.hub.users.terminate(app.id, "user0")
    for client in ends:
        client.end()


async def test_node_holds_nothing_when_everybody_has_gone(autojump_clock: MockClock) -> None:
    """No user, watcher, timer, interest or count stays behind once the lingers have ended."""
    async with run_nodes(nodes=2) as nodes:
        for node in nodes:
            for app in (APP, OTHER_APP):
                await churn(node, app)
        await settle(QUIET)
        assert [node.leftovers() for node in nodes] == [{}, {}]
        assert [node.gauges(app) for node in nodes for app in (APP, OTHER_APP)] == [(0, 0, 0, 0)] * 4
