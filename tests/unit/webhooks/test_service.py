"""The webhooks of one node, with its real channels and users, and a post that only notes."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import structlog
import trio
from trio.testing import MockClock

from node.config.apps import App, Apps
from node.config.webhooks import EventName, Webhook, WebhookSettings
from node.webhooks.post import Result
from node.webhooks.service import Webhooks
from tests.unit.support import APP, Client, Node, run_nodes

EVENTS: tuple[EventName, ...] = ("channel_occupied", "channel_vacated", "cache_miss", "user_online", "user_offline")


@dataclass
class Post:
    """Notes what it is sent, if it is not to hang."""

    hangs: bool = False
    told: list[str] = field(default_factory=list)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Result:
        """See `Poster`."""
        del headers
        await trio.sleep(3600 if self.hangs else 0)
        self.told += [f"{url[-2:-1]} {event['name']} {event['channel']}" for event in json.loads(body)["events"]]
        return Result.SUCCESS

    async def aclose(self) -> None:
        """See `Poster`."""


@dataclass
class Site:
    """A node and its webhooks."""

    node: Node
    webhooks: Webhooks
    apps: Apps
    post: Post

    def take(self) -> list[str]:
        """What was sent since the last time: the webhook's letter, the event, the channel."""
        told, self.post.told = self.post.told, []
        return told


def hooked(**letters: tuple[EventName, ...]) -> App:
    """The app with these webhooks."""
    webhooks = tuple(Webhook(url=f"https://hook.test/{letter}/", events=events) for letter, events in letters.items())
    return App(id=APP.id, key=APP.key, secrets=APP.secrets, webhooks=webhooks)


@asynccontextmanager
async def run_site(app: App, *, hangs: bool = False) -> AsyncIterator[Site]:
    """One node that is alone."""
    apps, post = Apps([app]), Post(hangs)
    async with run_nodes(app) as (node,), trio.open_nursery() as nursery:
        webhooks = Webhooks(apps, node.metrics, WebhookSettings(), node.member)
        webhooks._make_post = lambda: post
        node.hub.tell_webhooks(webhooks)
        nursery.start_soon(webhooks.run)
        await trio.sleep(0.1)
        yield Site(node, webhooks, apps, post)
        nursery.cancel_scope.cancel()


@pytest.fixture
def autojump_clock() -> MockClock:
    """A clock that jumps to the next thing to do."""
    return MockClock(autojump_threshold=0)


async def test_each_webhook_is_told_what_it_wants(autojump_clock: MockClock) -> None:
    """And nothing else."""
    async with run_site(hooked(a=EVENTS, b=("user_online",))) as site:
        client = Client(site.node.hub, APP)
        client.sign_in("ann")
        client.subscribe("news")
        await trio.sleep(1)
        online = "user_online #server-to-user-ann"
        assert sorted(site.take()) == ["a channel_occupied news", f"a {online}", f"b {online}"]
        client.end()
        await trio.sleep(5)
        assert sorted(site.take()) == ["a channel_vacated news", "a user_offline #server-to-user-ann"]


async def test_own_channel_of_a_user_is_never_occupied(autojump_clock: MockClock) -> None:
    """It is no channel to others."""
    async with run_site(hooked(a=("channel_occupied", "channel_vacated"))) as site:
        client = Client(site.node.hub, APP)
        client.sign_in("ann")
        client.subscribe("#server-to-user-ann")
        await trio.sleep(5)
        assert site.take() == []


async def test_many_who_miss_make_one_event(autojump_clock: MockClock) -> None:
    """Until it is time to tell again."""
    async with run_site(hooked(a=("cache_miss",))) as site:
        for _ in range(5):
            Client(site.node.hub, APP).subscribe("cache-a")
        await trio.sleep(1)
        assert site.take() == ["a cache_miss cache-a"]
        await trio.sleep(10)
        Client(site.node.hub, APP).subscribe("cache-a")
        await trio.sleep(1)
        assert site.take() == ["a cache_miss cache-a"]


async def test_webhook_is_sent_nothing_more_when_a_reload_takes_it_away(autojump_clock: MockClock) -> None:
    """What waits included; the other one goes on."""
    async with run_site(hooked(a=EVENTS, b=EVENTS)) as site:
        Client(site.node.hub, APP).subscribe("news")
        await trio.sleep(0.15)
        site.apps.replace([hooked(b=EVENTS)])
        with structlog.testing.capture_logs():
            await trio.sleep(1)
        assert site.take() == ["b channel_occupied news"]
        assert site.node.value("webhook_events_dropped_total", app=APP.id, reason="removed") == 1


async def test_webhook_that_a_reload_brings_is_told_what_earlier_connections_do(autojump_clock: MockClock) -> None:
    """At once, though they keep the app that they were opened with."""
    before = App(id=APP.id, key=APP.key, secrets=APP.secrets, client_events=True)
    async with run_site(before) as site:
        clients = [Client(site.node.hub, before) for _ in range(3)]
        for client in clients[:2]:
            client.subscribe("private-cache-x")
        site.apps.replace([hooked(a=("client_event", "cache_miss"))])
        await trio.sleep(20)
        site.take()
        clients[0].trigger("private-cache-x")
        clients[2].subscribe("private-cache-x")
        await trio.sleep(1)
        assert sorted(site.take()) == ["a cache_miss private-cache-x", "a client_event private-cache-x"]


async def test_nothing_waits_for_a_webhook_that_a_reload_has_taken_away(autojump_clock: MockClock) -> None:
    """As metrics say."""
    async with run_site(hooked(a=EVENTS), hangs=True) as site:
        Client(site.node.hub, APP).subscribe("news")
        await trio.sleep(1)
        assert site.node.value("webhook_queue", app=APP.id) == 1
        site.apps.replace([APP])
        with structlog.testing.capture_logs():
            await trio.sleep(1)
        assert site.node.value("webhook_queue", app=APP.id) == 0


async def test_close_lets_what_waits_arrive(autojump_clock: MockClock) -> None:
    """Ends that nobody else would tell included."""
    async with run_site(hooked(a=EVENTS)) as site:
        client = Client(site.node.hub, APP)
        client.subscribe("news")
        await trio.sleep(1)
        client.end()
        await site.webhooks.wait_for_ends(1.0)
        start = trio.current_time()
        await site.webhooks.close()
        assert trio.current_time() - start < 0.5
        assert site.take() == ["a channel_occupied news", "a channel_vacated news"]


async def test_close_gives_up_in_time_what_does_not_arrive(autojump_clock: MockClock) -> None:
    """After one timeout; counted and logged."""
    async with run_site(hooked(a=EVENTS), hangs=True) as site:
        Client(site.node.hub, APP).subscribe("news")
        await trio.sleep(1)
        start = trio.current_time()
        with structlog.testing.capture_logs() as logs:
            await site.webhooks.close()
        assert trio.current_time() - start < 4.5
        assert site.node.value("webhook_events_dropped_total", app=APP.id, reason="left") == 1
        assert [(log["event"], log["host"]) for log in logs] == [("webhook events given up", "hook.test")]
