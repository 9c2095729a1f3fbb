"""A node on its way out: real hubs and members on one bus, and a clock that jumps."""

from collections.abc import Sequence

import trio
from trio.testing import MockClock

from node.config.settings import Drain, Nats, Presence, Settings
from node.leaving import Leaving
from tests.unit.support import APP, OTHER_APP, Client, Node, run_nodes, settle

SETTINGS = Settings(
    drain=Drain(delay=5, spread=20, timeout=3),
    presence=Presence(linger=1, drain_linger=10),
    nats=Nats(servers=("nats://n:4222",)),
)


def leaving(node: Node) -> Leaving:
    """The way out of a node."""
    return Leaving(SETTINGS, node.hub, node.metrics)


def closed(clients: Sequence[Client]) -> int:
    """How many of them were closed, each with 4200."""
    codes = [client.close_code for client in clients if client.close_code is not None]
    assert set(codes) <= {4200}
    return len(codes)


async def test_node_serves_during_the_delay_then_closes_evenly_and_admits_no_more(autojump_clock: MockClock) -> None:
    """Signed in or not, of all apps alike; the gauges tell how far it is."""
    async with run_nodes() as (node,), trio.open_nursery() as nursery:
        way = leaving(node)
        clients = [Client(node.hub, app) for app in (APP, OTHER_APP) for _ in range(50)]
        clients[0].sign_in("ann", ["bea"])
        await way.await_delay()
        assert trio.current_time() >= 5
        assert node.value("drain_stage", stage="delay") == 1
        clients += [Client(node.hub) for _ in range(20)]
        nursery.start_soon(way.close_all)
        for second in range(1, 21):
            await trio.sleep(1)
            assert abs(closed(clients) - 6 * second) <= 1
            assert node.value("drain_remaining") == 120 - closed(clients)
        await trio.sleep(0.1)
        assert closed(clients) == 120
        assert node.value("drain_stage", stage="closing") == 1
        assert Client(node.hub).close_code == 4200
        assert Client(node.hub, path="/app/nobody").close_code == 4001
        assert (node.gauges(), node.gauges(OTHER_APP)) == ((0, 0, 0, 0), (0, 0, 0, 0))


async def test_node_waits_for_nothing_when_there_is_a_hurry(autojump_clock: MockClock) -> None:
    """From wherever it is."""
    async with run_nodes() as (node,), trio.open_nursery() as nursery:
        way = leaving(node)
        clients = [Client(node.hub) for _ in range(1000)]
        nursery.start_soon(way.await_delay)
        await trio.sleep(1)
        start = trio.current_time()
        way.hurry()
        await way.close_all()
        assert closed(clients) == 1000
        with trio.CancelScope() as scope:
            way.bound(scope)
            await trio.sleep_forever()
        await way.await_lingers(node.member)
        assert trio.current_time() - start <= 1.1


async def test_node_cuts_its_outboxes_short_when_the_hurry_comes_late(autojump_clock: MockClock) -> None:
    """They had three seconds, and have one from then on."""
    async with run_nodes() as (node,), trio.open_nursery() as nursery:
        way = leaving(node)
        start = trio.current_time()
        with trio.CancelScope() as scope:
            way.bound(scope)
            nursery.start_soon(hurry_after, 0.5, way)
            await trio.sleep_forever()
        assert trio.current_time() - start == 1.5


async def hurry_after(seconds: float, way: Leaving) -> None:
    """Somebody loses patience."""
    await trio.sleep(seconds)
    way.hurry()


async def test_nobody_hears_of_users_when_they_come_back_elsewhere_within_the_linger(autojump_clock: MockClock) -> None:
    """The goodbye waits until the last of them is held elsewhere, and no longer than watchers need to hear of it."""
    async with run_nodes(nodes=3) as (first, second, third):
        users = [f"user{number}" for number in range(20)]
        watchers = [Client(node.hub) for node in (second, third)]
        for watcher in watchers:
            watcher.sign_in("watcher", users)
        staying = {user: Client(first.hub) for user in users}
        for user, client in staying.items():
            client.sign_in(user)
        await settle()
        for watcher in watchers:
            assert watcher.read()[-1] == f"online {' '.join(users)}"
        way = leaving(first)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(way.close_all)
            while staying:
                await trio.sleep(4)
                for user in [user for user, client in staying.items() if client.close_code is not None]:
                    del staying[user]
                    Client(second.hub).sign_in(user)
        start = trio.current_time()
        await way.await_lingers(first.member)
        await first.member.say_goodbye()
        assert trio.current_time() - start < 3
        await settle(5)
        assert [watcher.read() for watcher in watchers] == [[], []]


async def test_watchers_hear_of_users_when_they_stay_away_for_the_linger(autojump_clock: MockClock) -> None:
    """Once, ten seconds after their close, before the goodbye; who leaves by himself lingers as always."""
    async with run_nodes(nodes=2) as (first, second):
        watcher, goer, leaver = Client(second.hub), Client(first.hub), Client(first.hub)
        watcher.sign_in("watcher", ["goer", "leaver"])
        goer.sign_in("goer")
        leaver.sign_in("leaver")
        await settle()
        watcher.read()
        way = leaving(first)
        leaver.end()
        await settle(1.5)
        assert watcher.read() == ["offline leaver"]
        way.hurry()
        await way.close_all()
        start = trio.current_time()
        await leaving(first).await_lingers(first.member)
        assert 10 <= trio.current_time() - start < 12
        assert watcher.read() == ["offline goer"]
        await first.member.say_goodbye()
        await settle(5)
        assert watcher.read() == []


async def test_node_that_is_alone_lingers_for_nobody(autojump_clock: MockClock) -> None:
    """There is no other node, and nobody who would hear."""
    async with run_nodes() as (node,):
        Client(node.hub).sign_in("ann")
        await settle()
        start = trio.current_time()
        await Leaving(Settings(), node.hub, node.metrics).await_lingers(node.member)
        assert trio.current_time() == start
