"""Users of a cluster: signing in, what reaches them, who sees them come and go, and their termination.

Protocol.md 2 to 5, on real members of a cluster; only the transports are not real. Times are those of a mock clock.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import structlog
import trio
from trio.testing import MockClock

from node.config.apps import App
from node.users import Unavailable
from tests.unit.protocol.wire import KEY, SECRET
from tests.unit.support import APP, OTHER_APP, QUIET, Client, Node, run_nodes, settle

LINGER = 1.2
"""Seconds after which a user who has gone is offline, and everybody was told."""


async def sign_in(
    node: Node, user: str, watchlist: Sequence[object] | None = None, *, app: App = APP, told: list[str] | None = None
) -> Client:
    """A client that has signed in, and was told this besides the success."""
    client = Client(node.hub, app)
    client.sign_in(user, watchlist)
    await settle()
    first, *rest = client.read()
    assert first == f"signed in {user}"
    assert told is None or rest == told
    return client


def read(*clients: Client) -> list[list[str]]:
    """What each of them was told since the last reading."""
    return [client.read() for client in clients]


def app_with(**settings: object) -> App:
    """An app with these settings."""
    return App(**({"id": "1001", "key": KEY, "secrets": (SECRET,)} | settings))  # type: ignore[arg-type]


# -- signing in -------------------------------------------------------------------------------------------------------


async def test_user_is_told_the_success_then_4302_then_the_state_of_the_watchlist(autojump_clock: MockClock) -> None:
    """In this order, whatever the number of ids (protocol.md 2.4, 4.2)."""
    app = app_with(watchlist_limit=3)
    async with run_nodes(app) as (node,):
        await sign_in(node, "cid", app=app)
        client = await sign_in(node, "ann", ["bea", "cid", "bea", "dan", "eve"], app=app)
        client.sign_in("ann", ["bea", "cid", "dan", "eve"])
        await settle()
        assert client.read() == ["signed in ann", "error 4302", "offline bea dan, online cid"]


@pytest.mark.parametrize("watchlist", [None, [], [1, ""]])
async def test_user_is_told_only_the_success_when_nobody_is_watched(
    autojump_clock: MockClock, watchlist: list[object] | None
) -> None:
    """No empty frame."""
    async with run_nodes() as (node,):
        await sign_in(node, "ann", watchlist, told=[])
        assert node.gauges() == (1, 1, 1, 0)


async def test_user_is_refused_by_an_error_and_can_try_again(autojump_clock: MockClock) -> None:
    """The connection stays open, and nobody is signed in (protocol.md 2.5)."""
    async with run_nodes() as (node,):
        watcher = await sign_in(node, "wil", ["ann"])
        client = Client(node.hub)
        for _ in range(3):
            client.sign_in("ann", secret="wrong")
        await settle()
        watcher.read()
        assert client.read() == ["error 4009"] * 3
        assert node.gauges() == (2, 1, 1, 1)
        assert node.value("signins_total", app=APP.id, result="refused") == 3
        client.sign_in("ann")
        await settle()
        assert read(client, watcher) == [["signed in ann"], ["online ann"]]


async def test_user_signs_in_again_with_another_watchlist(autojump_clock: MockClock) -> None:
    """The list is replaced, the state told anew, and nobody hears of a second coming (protocol.md 2.6)."""
    async with run_nodes() as (node,):
        watcher = await sign_in(node, "wil", ["ann"])
        client = await sign_in(node, "ann", ["bea", "wil"], told=["offline bea, online wil"])
        watcher.read()
        client.sign_in("ann", ["cid", "wil"])
        await settle()
        assert read(client, watcher) == [["signed in ann", "offline cid, online wil"], []]
        assert node.gauges() == (2, 2, 2, 3)
        bea, cid = await sign_in(node, "bea"), await sign_in(node, "cid")
        await node.send("ann", "hello")
        assert read(client, watcher) == [["online cid", "#server-to-user-ann hello {}"], []]
        for each in (bea, cid, client):
            each.end()
        await settle(LINGER)
        assert watcher.read() == ["offline ann"]


async def test_user_keeps_everything_when_another_is_tried_on_the_connection(autojump_clock: MockClock) -> None:
    """4009, and nothing has changed (protocol.md 2.6)."""
    async with run_nodes() as (node,):
        watcher = await sign_in(node, "wil", ["ann", "bea"])
        client = await sign_in(node, "ann", ["cid"])
        before = node.gauges()
        client.sign_in("bea", ["dan"])
        await settle()
        assert client.read() == ["error 4009"]
        assert watcher.read() == ["online ann"]
        assert node.gauges() == before
        await sign_in(node, "cid")
        await sign_in(node, "dan")
        await node.send("ann", "hello")
        await node.send("bea", "hello")
        assert client.read() == ["online cid", "#server-to-user-ann hello {}"]


async def test_user_is_signed_in_once_when_two_sign_ins_are_confirmed_together(autojump_clock: MockClock) -> None:
    """The newest counts."""
    async with run_nodes() as (node,):
        node.bus.quick = False
        client = Client(node.hub)
        client.sign_in("ann", ["bea"])
        client.sign_in("ann", ["cid"])
        client.sign_in("dan", ["cid"])
        await settle()
        assert client.read() == ["error 4009"]
        node.bus.catch_up()
        await settle()
        assert client.read() == ["signed in ann", "offline cid"]
        assert node.gauges() == (1, 1, 1, 1)
        assert node.value("signins_total", app=APP.id, result="superseded") == 1
        client.end()
        await settle(QUIET)
        assert node.leftovers() == {}


# -- who sees whom ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_users_see_each_other_as_in_pushers_diagram(autojump_clock: MockClock, count: int) -> None:
    """The one exact source for watchlists, on one node and across several (protocol.md 4.2)."""
    async with run_nodes(nodes=count) as nodes:
        one = await sign_in(nodes[0], "1", ["2", "3"], told=["offline 2 3"])
        two = await sign_in(nodes[1 % count], "2", ["1", "3"], told=["offline 3, online 1"])
        assert one.read() == ["online 2"]
        three = await sign_in(nodes[2 % count], "3", ["1", "2"], told=["online 1 2"])
        assert read(one, two) == [["online 3"], ["online 3"]]
        one.end()
        await settle(LINGER)
        assert read(one, two, three) == [[], ["offline 1"], ["offline 1"]]
        two.end()
        await settle(LINGER)
        assert read(one, two, three) == [[], [], ["offline 2"]]
        three.end()
        await settle(QUIET)
        assert read(one, two, three) == [[], [], []]
        assert [node.leftovers() for node in nodes] == [{}] * count


async def test_watcher_hears_of_the_first_and_the_last_connection_in_the_cluster_only(autojump_clock: MockClock) -> None:
    """Tabs on three nodes, opened and closed in turn."""
    async with run_nodes(nodes=3) as nodes:
        watcher = await sign_in(nodes[0], "wil", ["ann"])
        tabs = [await sign_in(nodes[0], "ann")]
        assert watcher.read() == ["online ann"]
        tabs += [await sign_in(nodes[number % 3], "ann") for number in (1, 2, 1)]
        for tab in tabs[:3]:
            tab.end()
            await settle(LINGER)
        assert watcher.read() == []
        assert [node.value("users_online_here", app=APP.id) for node in nodes] == [1, 1, 0]
        tabs[3].end()
        await settle(LINGER)
        assert watcher.read() == ["offline ann"]


async def test_watcher_hears_nothing_when_a_page_is_reloaded(autojump_clock: MockClock) -> None:
    """Gone and back within the linger, on another node even."""
    async with run_nodes(nodes=2) as nodes:
        watcher = await sign_in(nodes[0], "wil", ["ann"])
        tab = await sign_in(nodes[1], "ann")
        watcher.read()
        for number in (0, 1, 1, 0):
            tab.end()
            await settle(0.4)
            tab = await sign_in(nodes[number], "ann")
        await settle(LINGER)
        assert watcher.read() == []


async def test_watcher_is_told_on_every_connection_that_carried_a_list(autojump_clock: MockClock) -> None:
    """Each by its own list: they need not be the same."""
    async with run_nodes(nodes=2) as nodes:
        tabs = [
            await sign_in(nodes[0], "wil", ["ann"]),
            await sign_in(nodes[1], "wil", ["bea", "ann"]),
            await sign_in(nodes[1], "wil", ["bea"]),
            await sign_in(nodes[1], "wil"),
        ]
        await sign_in(nodes[0], "ann")
        assert read(*tabs) == [["online ann"], ["online ann"], [], []]


async def test_watcher_sees_itself_online_and_never_hears_of_itself_again(autojump_clock: MockClock) -> None:
    """It counts as signed in before the state is computed (protocol.md 4.2)."""
    async with run_nodes(nodes=2) as nodes:
        first = await sign_in(nodes[0], "ann", ["bea", "ann"], told=["offline bea, online ann"])
        second = await sign_in(nodes[1], "ann", ["ann"], told=["online ann"])
        first.sign_in("ann", ["ann"])
        await settle()
        assert first.read() == ["signed in ann", "online ann"]
        first.end()
        await settle(LINGER)
        assert read(first, second) == [[], []]


async def test_watcher_is_not_told_of_users_of_another_app(autojump_clock: MockClock) -> None:
    """The same ids are other people."""
    async with run_nodes(nodes=2) as nodes:
        watcher = await sign_in(nodes[0], "wil", ["ann"])
        await sign_in(nodes[1], "ann", app=OTHER_APP)
        other = await sign_in(nodes[0], "wil", ["ann"], app=OTHER_APP, told=["online ann"])
        await sign_in(nodes[1], "ann", told=[])
        assert read(watcher, other) == [["online ann"], []]


async def test_watcher_is_told_once_of_a_crowd_that_comes_together(autojump_clock: MockClock) -> None:
    """One frame for what happened within 20 ms."""
    async with run_nodes(nodes=2) as nodes:
        names = [f"u{number:02}" for number in range(30)]
        watcher = await sign_in(nodes[0], "wil", names)
        crowd = [Client(nodes[number % 2].hub) for number in range(30)]
        for name, client in zip(names, crowd, strict=True):
            client.sign_in(name)
        await settle()
        (frame,) = watcher.read()
        assert sorted(frame.split()) == sorted(["online", *names])


async def test_watcher_is_told_nothing_when_the_app_has_no_watchlist_events(autojump_clock: MockClock) -> None:
    """Neither the state nor changes; sign-in works."""
    app = app_with(watchlist_events=False, watchlist_limit=1)
    async with run_nodes(app) as (node,):
        watcher = await sign_in(node, "wil", ["ann", "bea"], app=app, told=[])
        await sign_in(node, "ann", app=app)
        assert watcher.read() == []
        assert node.value("watch_edges", app=app.id) == 0


async def test_connection_hears_nothing_after_its_close(autojump_clock: MockClock) -> None:
    """No event, no change, although its transport would take them."""
    async with run_nodes() as (node,):
        client = await sign_in(node, "ann", ["bea"])
        client.end()
        await sign_in(node, "bea")
        await node.send("ann", "hello")
        await settle(LINGER)
        assert client.read() == []


# -- events -----------------------------------------------------------------------------------------------------------


async def test_user_receives_an_event_once_on_each_connection_wherever_it_is(autojump_clock: MockClock) -> None:
    """Subscribed or not, once or twice; users, apps and connections that are not meant hear nothing."""
    async with run_nodes(nodes=3) as nodes:
        tabs = [await sign_in(node, "ann") for node in (nodes[0], nodes[1], nodes[1])]
        others = [
            await sign_in(nodes[1], "bea"),
            await sign_in(nodes[1], "ann", app=OTHER_APP),
            Client(nodes[0].hub),
        ]
        for _ in range(2):
            tabs[1].subscribe("#server-to-user-ann")
        assert tabs[1].read() == ["subscribed #server-to-user-ann"] * 2
        for sender in nodes:
            await sender.send("ann", "hello")
            assert read(*tabs, *others) == [["#server-to-user-ann hello {}"]] * 3 + [[]] * 3
        tabs[1].say("pusher:unsubscribe", {"channel": "#server-to-user-ann"})
        await nodes[0].send("ann", "still there")
        assert tabs[1].read() == ["#server-to-user-ann still there {}"]


@pytest.mark.parametrize("sender", [0, 1])
async def test_event_does_not_reach_the_connection_that_it_excludes(autojump_clock: MockClock, sender: int) -> None:
    """Wherever that is."""
    async with run_nodes(nodes=2) as nodes:
        tabs = [await sign_in(nodes[0], "ann"), await sign_in(nodes[0], "ann"), await sign_in(nodes[1], "ann")]
        await nodes[sender].send("ann", "hello", but_for=tabs[0].socket_id)
        assert read(*tabs) == [[], ["#server-to-user-ann hello {}"], ["#server-to-user-ann hello {}"]]


async def test_event_for_a_user_who_is_nowhere_is_carried_nowhere(autojump_clock: MockClock) -> None:
    """It is no error."""
    async with run_nodes(nodes=2) as nodes:
        client = await sign_in(nodes[1], "ann")
        await nodes[0].send("bea", "hello")
        assert client.read() == []
        assert [node.value("bus_unclaimed_total", kind="event") for node in nodes] == [0, 0]


@pytest.mark.parametrize("sender", [0, 1])
async def test_event_is_not_delivered_before_the_success(autojump_clock: MockClock, sender: int) -> None:
    """And from the success on it is."""
    async with run_nodes(nodes=2) as nodes:
        nodes[0].bus.quick = False
        client = Client(nodes[0].hub)
        client.sign_in("ann")
        await settle()
        with trio.move_on_after(0.1):
            await nodes[sender].send("ann", "early")
        assert client.read() == []
        nodes[0].bus.catch_up()
        await settle()
        await nodes[sender].send("ann", "late")
        assert client.read() == ["signed in ann", "#server-to-user-ann late {}"]


async def test_events_arrive_in_the_order_in_which_they_were_sent(autojump_clock: MockClock) -> None:
    """On every node."""
    async with run_nodes(nodes=2) as nodes:
        tabs = [await sign_in(node, "ann") for node in nodes]
        for number in range(20):
            await nodes[number % 2].send("ann", f"e{number}")
        assert read(*tabs) == [[f"#server-to-user-ann e{number} {{}}" for number in range(20)]] * 2


async def test_nobody_here_is_told_an_event_that_the_bus_cannot_carry(autojump_clock: MockClock) -> None:
    """A retry then arrives once."""
    async with run_nodes() as (node,):
        client = await sign_in(node, "ann")
        node.lose_bus()
        with pytest.raises(Unavailable):
            await node.send("ann", "hello")
        assert client.read() == []
        node.find_bus()
        await node.send("ann", "hello")
        assert client.read() == ["#server-to-user-ann hello {}"]


# -- termination ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [0, 1, 2])
async def test_user_is_terminated_on_all_nodes(autojump_clock: MockClock, where: int) -> None:
    """4200, counted; others stay, watchers are told, and the user may come back (protocol.md 5)."""
    async with run_nodes(nodes=3) as nodes:
        tabs = [await sign_in(node, "ann") for node in (nodes[0], nodes[0], nodes[1])]
        watcher = await sign_in(nodes[2], "wil", ["ann"])
        others = [await sign_in(nodes[0], "bea"), await sign_in(nodes[0], "ann", app=OTHER_APP), Client(nodes[0].hub)]
        assert await nodes[where].hub.users.count_user(APP, "ann") == 3
        assert await nodes[where].hub.users.terminate_user(APP, "ann") == 3
        assert [(tab.close_code, tab.transport.reason) for tab in tabs] == [(4200, "You got disconnected by the app")] * 3
        assert read(*tabs) == [["error 4200"]] * 3
        assert [other.close_code for other in (*others, watcher)] == [None] * 4
        assert await nodes[where].hub.users.count_user(APP, "ann") == 0
        await settle(LINGER)
        assert watcher.read() == ["offline ann"]
        await sign_in(nodes[0], "ann")
        assert watcher.read() == ["online ann"]


async def test_user_who_is_unknown_is_terminated_without_an_error(autojump_clock: MockClock) -> None:
    """Nothing is closed, and it takes no time."""
    async with run_nodes(nodes=2) as nodes:
        start = trio.current_time()
        assert await nodes[0].hub.users.terminate_user(APP, "nobody") == 0
        assert await nodes[0].hub.users.count_user(APP, "nobody") == 0
        assert trio.current_time() == start
        assert nodes[0].value("terminations_total") == 1


async def test_user_is_terminated_with_the_code_of_the_app(autojump_clock: MockClock) -> None:
    """4009 is what other servers do: then clients stay away."""
    app = app_with(terminate_code=4009)
    async with run_nodes(app) as (node,):
        client = await sign_in(node, "ann", app=app)
        assert await node.hub.users.terminate_user(app, "ann") == 1
        assert (client.read(), client.close_code) == (["error 4009"], 4009)


async def test_termination_closes_connections_that_are_still_being_confirmed(autojump_clock: MockClock) -> None:
    """They are never told that they are signed in, and nobody sees the user."""
    async with run_nodes(nodes=2) as nodes:
        watcher = await sign_in(nodes[1], "wil", ["ann"])
        nodes[0].bus.quick = False
        client = Client(nodes[0].hub)
        client.sign_in("ann", ["wil"])
        await settle()
        assert await nodes[1].hub.users.count_user(APP, "ann") == 0
        assert await nodes[1].hub.users.terminate_user(APP, "ann") == 1
        nodes[0].bus.catch_up()
        await settle(LINGER)
        assert (client.read(), client.close_code) == (["error 4200"], 4200)
        assert watcher.read() == []
        assert nodes[0].gauges() == (0, 0, 0, 0)


async def test_termination_closes_what_is_here_when_the_bus_is_away(autojump_clock: MockClock) -> None:
    """Whoever asked is told to try again, since nodes elsewhere were not reached."""
    async with run_nodes() as (node,):
        client = await sign_in(node, "ann")
        node.lose_bus()
        for ask in (node.hub.users.terminate_user, node.hub.users.count_user):
            with pytest.raises(Unavailable):
                await ask(APP, "ann")
        assert client.close_code == 4200


# -- when a peer is silent --------------------------------------------------------------------------------------------


@asynccontextmanager
async def one_is_silent() -> AsyncIterator[tuple[Node, Client, Node]]:
    """A node whose newcomers need the part of a silent peer, a watcher of "ann" elsewhere, and that node."""
    async with run_nodes(nodes=3) as (node, elsewhere, silent):
        watcher = await sign_in(elsewhere, "wil", ["ann", "bea"], told=["offline ann bea"])
        silent.bus.mute = True
        yield node, watcher, elsewhere


async def test_user_is_signed_in_and_seen_before_a_silent_peer_has_told_who_is_online(autojump_clock: MockClock) -> None:
    """The state of the watchlist waits for it, though not for ever, and knows all that happened meanwhile."""
    async with one_is_silent() as (node, watcher, elsewhere):
        client = Client(node.hub)
        client.sign_in("ann", ["bea", "ann", "cid"])
        await settle(0.2)
        assert read(client, watcher) == [["signed in ann"], ["online ann"]]
        await elsewhere.send("ann", "hello")
        await sign_in(elsewhere, "bea")
        assert read(client, watcher) == [["#server-to-user-ann hello {}"], ["online bea"]]
        await settle(2)
        assert read(client, watcher) == [["offline cid, online bea ann"], []]
        await sign_in(elsewhere, "cid")
        assert client.read() == ["online cid"]
        assert node.member.peers == 2  # it is slow, not dead


async def test_user_goes_before_the_state_of_the_watchlist_is_known(autojump_clock: MockClock) -> None:
    """Nothing of it stays, and the connection is told nothing more."""
    async with one_is_silent() as (node, watcher, _):
        client = Client(node.hub)
        client.sign_in("ann", ["bea"])
        await settle(0.2)
        client.end()
        await settle(LINGER)
        assert read(client, watcher) == [["signed in ann"], ["online ann", "offline ann"]]
        await settle(QUIET)
        assert client.read() == []
        assert node.leftovers() == {}


async def test_user_signs_in_again_before_the_state_of_the_watchlist_is_known(autojump_clock: MockClock) -> None:
    """Only that of the last list is told."""
    async with one_is_silent() as (node, watcher, elsewhere):
        client = Client(node.hub)
        client.sign_in("ann", ["bea"])
        await settle(0.2)
        client.sign_in("ann", ["cid"])
        await settle(3)
        assert read(client, watcher) == [["signed in ann", "signed in ann", "offline cid"], ["online ann"]]
        assert node.gauges() == (1, 1, 1, 1)
        await sign_in(elsewhere, "bea")
        await sign_in(elsewhere, "cid")
        assert client.read() == ["online cid"]
        client.end()
        await settle(QUIET)
        assert node.leftovers() == {}


async def test_user_is_closed_with_4100_when_the_bus_goes_before_the_state_is_known(autojump_clock: MockClock) -> None:
    """As a sign-in that cannot be confirmed: the client comes back and asks again."""
    async with one_is_silent() as (node, _, _):
        client = Client(node.hub)
        client.sign_in("ann", ["bea"])
        await settle(0.2)
        node.lose_bus()
        await settle(11)
        assert (client.read(), client.close_code) == (["signed in ann", "error 4100"], 4100)
        assert node.gauges()[1:] == (0, 0, 0)
        node.find_bus()


# -- when something is wrong ------------------------------------------------------------------------------------------


async def test_sign_in_is_given_up_with_4100_when_the_bus_stays_away(autojump_clock: MockClock) -> None:
    """Clients come back after a second and sign in again; nothing stays behind here."""
    async with run_nodes() as (node,):
        node.lose_bus()
        client, start = Client(node.hub), trio.current_time()
        client.sign_in("ann", ["bea"])
        await client.transport.was_closed.wait()
        assert trio.current_time() - start == pytest.approx(10, abs=0.3)
        assert (client.read(), client.close_code) == (["error 4100"], 4100)
        assert node.value("signins_total", app=APP.id, result="unavailable") == 1
        node.find_bus()
        await sign_in(node, "ann", ["bea"], told=["offline bea"])
        assert node.gauges() == (1, 1, 1, 1)


async def test_sign_in_goes_on_when_the_bus_comes_back_in_time(autojump_clock: MockClock) -> None:
    """The client only waits."""
    async with run_nodes() as (node,):
        node.lose_bus()
        client = Client(node.hub)
        client.sign_in("ann", ["ann"])
        await settle(8)
        assert client.read() == []
        node.find_bus()
        await settle(2.5)
        assert client.read() == ["signed in ann", "online ann"]


async def test_user_is_not_seen_when_the_connection_ends_before_the_confirmation(autojump_clock: MockClock) -> None:
    """Its claim is settled for nobody."""
    async with run_nodes() as (node,):
        watcher = await sign_in(node, "wil", ["ann"])
        node.bus.quick = False
        client = Client(node.hub)
        client.sign_in("ann", ["bea"])
        client.end()
        await settle(0.2)
        node.bus.catch_up()
        await settle(LINGER)
        assert read(client, watcher) == [[], []]
        assert node.gauges() == (1, 1, 1, 1)
        watcher.end()
        await settle(QUIET)
        assert node.leftovers() == {}


class BugError(Exception):
    """Something that must not happen."""


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("target", ["node.watchers.Watchers.add", "cluster.Member.announce"])
async def test_bug_in_a_sign_in_ends_one_connection_only(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, target: str, again: bool
) -> None:
    """It is logged without the user, the client comes back in a second, and the node holds nothing of it."""

    def fail(*_: object) -> None:
        raise BugError

    async with run_nodes() as (node,):
        other = await sign_in(node, "wil")
        victim = await sign_in(node, "s3cret", ["bea"]) if again else Client(node.hub)
        with monkeypatch.context() as patch, structlog.testing.capture_logs() as logs:
            patch.setattr(target, fail)
            victim.sign_in("s3cret", ["cid"])
            await settle()
        assert victim.close_code == 4100
        assert victim.read()[-1] == "error 4100"
        assert [entry["log_level"] for entry in logs] == ["error"]
        assert "s3cret" not in str(logs)
        node.expected_errors = 1
        await sign_in(node, "ann", ["wil"], told=["online wil"])
        await node.send("wil", "hello")
        assert other.read() == ["#server-to-user-wil hello {}"]
        assert node.gauges()[:3] == (2, 2, 2)


async def test_load_of_a_node_is_its_connections_and_users(autojump_clock: MockClock) -> None:
    """For heartbeats: tabs of one user are one."""
    async with run_nodes() as (node,):
        clients = [await sign_in(node, user) for user in ("ann", "ann", "bea")] + [Client(node.hub)]
        assert node.hub.listener.load()[:2] == (4, 2)
        for client in clients:
            client.end()
        assert node.hub.listener.load()[:2] == (0, 0)
