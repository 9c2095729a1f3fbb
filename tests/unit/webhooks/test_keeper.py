"""A keeper without a cluster: what it tells, remembers and forgets, and who sends."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import pytest

from node.config.apps import App, Apps
from node.config.webhooks import EventName, Webhook
from node.webhooks.events import Event, Fact, Kind, user_fact
from node.webhooks.keeper import Keeper
from node.webhooks.rota import Duty, Rota

CHANNEL = Fact(Kind.CHANNEL, "1", "a")
MEMBER = Fact(Kind.MEMBER, "1", "presence-a", "ann")
USER = user_fact("1", "ann")
NAMES: tuple[EventName, ...] = (
    *("channel_occupied", "channel_vacated", "member_added", "member_removed", "user_online", "user_offline"),
    "subscription_count",
)


def app(*names: EventName, enabled: bool = True) -> App:
    """An app whose webhook wants these events."""
    webhooks = (Webhook(url="https://hook.test/", events=names),) if names else ()
    return App(id="1", key="key", secrets=("secret",), webhooks=webhooks, enabled=enabled)


def in_order(_app: str, _index: int, nodes: Collection[str]) -> Sequence[str]:
    """A ranking that a test can know."""
    return sorted(nodes)


class Cluster:
    """One shard of each map, and nodes that rank by their names."""

    def __init__(self, me: str = "a", **ages: float) -> None:
        self.node_id = me
        self.connected = True
        self.by_age: dict[str, float] = ages or {me: 0.0}
        self.watched: list[str] = []
        self.unready: set[str] = set()

    def ages(self) -> Mapping[str, float]:
        """See `Cluster`."""
        return dict(self.by_age)

    def rank(self, app: str, index: int, nodes: Collection[str]) -> Sequence[str]:
        """See `Cluster`."""
        return in_order(app, index, nodes)

    def stems(self, app: str) -> Mapping[Kind, Sequence[str]]:
        """See `Cluster`."""
        return {kind: [f"{kind.value}.{app}.0"] for kind in Kind}

    def index_of(self, fact: Fact) -> int:
        """See `Cluster`."""
        del fact
        return 0

    def watch(self, shards: Iterable[str]) -> None:
        """See `Cluster`."""
        self.watched.extend(shards)

    def unwatch(self, shards: Iterable[str]) -> None:
        """See `Cluster`."""
        for shard in shards:
            self.watched.remove(shard)

    def is_ready(self, shard: str) -> bool:
        """See `Cluster`."""
        return shard not in self.unready


class Site:
    """A keeper and what it sends; `at` moves its clock, and lets it do what is due."""

    def __init__(self, cluster: Cluster | None = None, *names: EventName) -> None:
        self.cluster = cluster or Cluster()
        self.apps = Apps([app(*(names or NAMES))])
        self.sent: list[Event] = []
        self.keeper = Keeper(self.cluster, self.apps, 3.0, 4.0, self.sent.append)
        self.now = 0.0
        self.at(0.0)

    def at(self, now: float) -> list[EventName]:
        """What was sent up to this moment, since the last time."""
        while self.now < now:
            self.now = min(now, self.now + 0.25)
            self.keeper.tick(self.now)
        self.keeper.tick(now)
        names = [event.name for event in self.sent]
        self.sent.clear()
        return names

    def note(self, fact: Fact, *, begins: bool, age: float = 0.0) -> None:
        """Something happens."""
        self.keeper.note(fact, begins=begins, age=age, now=self.now, unix=1_700_000_000 + self.now)


@pytest.mark.parametrize("fact", [CHANNEL, MEMBER, USER])
def test_beginning_is_told_at_once_and_an_end_after_the_hold(fact: Fact) -> None:
    """Whatever it is."""
    site = Site()
    site.note(fact, begins=True)
    assert site.at(0.0) == [fact.name(begins=True)]
    site.note(fact, begins=False)
    assert site.at(2.75) == []
    assert site.at(3.0) == [fact.name(begins=False)]


def test_return_within_the_hold_is_not_told() -> None:
    """Nor is the end before it."""
    site = Site()
    site.note(CHANNEL, begins=True)
    site.at(0.0)
    site.note(CHANNEL, begins=False)
    site.at(2.5)
    site.note(CHANNEL, begins=True)
    assert site.at(10.0) == []


def test_hold_counts_from_the_cause() -> None:
    """The cluster has waited already, for a linger or for a dead node."""
    site = Site()
    site.note(MEMBER, begins=True)
    site.note(MEMBER, begins=False, age=1.0)
    assert site.at(2.0) == ["member_added", "member_removed"]
    site.note(MEMBER, begins=True)
    site.note(MEMBER, begins=False, age=10.0)
    assert site.at(2.0) == ["member_added", "member_removed"]


def test_sequence_grows_though_the_clock_does_not() -> None:
    """And an end has that of the moment when it happened."""
    site = Site()
    for begins in (True, False):
        site.keeper.note(USER, begins=begins, age=0.0, now=0.0, unix=1_700_000_000.0)
    site.keeper.tick(3.0)
    online, offline = [event.encoded for event in site.sent]
    assert b'"sequence":1700000000000000' in online
    assert b'"sequence":1700000000000001' in offline


def test_nothing_is_told_of_what_was_there_before() -> None:
    """A shard that is not complete tells how things stand."""
    cluster = Cluster(a=100.0)
    cluster.unready = {"channel.1.0"}
    site = Site(cluster)
    site.note(CHANNEL, begins=True)
    assert site.at(1.0) == []
    cluster.unready = set()
    site.at(1.25)
    site.note(CHANNEL, begins=False)
    assert site.at(5.0) == ["channel_vacated"]


def test_what_is_there_is_told_when_the_cluster_has_just_begun() -> None:
    """Perhaps nobody has done so before."""
    cluster = Cluster(a=2.0)
    cluster.unready = {"channel.1.0"}
    site = Site(cluster)
    site.note(CHANNEL, begins=True)
    assert site.at(0.0) == ["channel_occupied"]


def test_only_maps_that_are_needed_are_watched() -> None:
    """By the events that webhooks want."""
    assert Site(None, "channel_vacated").cluster.watched == ["channel.1.0"]
    assert Site(None, "subscription_count").cluster.watched == ["channel.1.0"]
    assert Site(None, "member_added", "user_offline").cluster.watched == ["member.1.0", "user.1.0"]
    assert Site(None, "client_event", "cache_miss").cluster.watched == []


def test_events_that_nobody_wants_are_not_sent() -> None:
    """Though their other half is."""
    site = Site(None, "channel_vacated")
    site.note(CHANNEL, begins=True)
    site.note(CHANNEL, begins=False)
    assert site.at(3.0) == ["channel_vacated"]


@pytest.mark.parametrize("after", [[], [app()], [app(*NAMES, enabled=False)]])
def test_reload_takes_effect_at_once(after: list[App]) -> None:
    """An app that is gone, disabled or without webhooks: what waits is not told either."""
    site = Site()
    site.note(CHANNEL, begins=True)
    site.at(0.0)
    site.note(CHANNEL, begins=False)
    site.apps.replace(after)
    assert site.at(10.0) == []
    assert site.cluster.watched == []
    site.apps.replace([app(*NAMES)])
    site.at(10.25)
    site.note(CHANNEL, begins=True)
    assert site.at(10.5) == ["channel_occupied"]


def test_second_keeper_sends_what_the_first_may_not_have_sent_when_it_dies() -> None:
    """All of what happened since it was last heard, and a margin before."""
    cluster = Cluster("b", a=100.0, b=100.0)
    site = Site(cluster)
    for channel, moment in (("early", 1.0), ("margin", 6.0), ("silent", 9.0)):
        site.at(moment)
        site.note(Fact(Kind.CHANNEL, "1", channel), begins=True)
    assert site.at(11.0) == []
    del cluster.by_age["a"]
    site.keeper.peer_lost("a", 2.0, politely=False, now=11.0)  # heard at 9, and the margin is 4 s
    assert [event.channel for event in site.sent] == ["margin", "silent"]
    site.sent.clear()
    site.note(CHANNEL, begins=True)
    assert site.at(11.0) == ["channel_occupied"]


def test_second_keeper_repeats_only_the_last_moment_when_the_first_leaves() -> None:
    """It has sent its own."""
    cluster = Cluster("b", a=100.0, b=100.0)
    site = Site(cluster)
    site.at(10.0)
    site.note(MEMBER, begins=True)
    site.at(10.75)
    site.note(CHANNEL, begins=True)
    del cluster.by_age["a"]
    site.keeper.peer_lost("a", 0.3, politely=True, now=11.0)
    assert [event.name for event in site.sent] == ["channel_occupied"]


def test_end_that_waits_is_told_by_the_keeper_who_takes_over() -> None:
    """Both have waited."""
    cluster = Cluster("b", a=100.0, b=100.0)
    site = Site(cluster)
    site.at(1.0)
    site.note(CHANNEL, begins=False)
    site.at(2.0)
    del cluster.by_age["a"]
    site.keeper.peer_lost("a", 0.3, politely=True, now=2.0)
    assert site.at(3.75) == []
    assert site.at(4.0) == ["channel_vacated"]


def test_nothing_is_sent_while_the_bus_is_away_but_all_of_it_afterwards() -> None:
    """What happens here meanwhile may not be what happens in the cluster."""
    site = Site()
    site.at(1.0)
    site.cluster.connected = False
    site.at(1.25)
    site.note(CHANNEL, begins=True)
    assert site.at(20.0) == []
    site.cluster.connected = True
    assert site.at(20.25) == ["channel_occupied"]


def test_node_that_leaves_sends_no_more() -> None:
    """Unless there is nobody to go on: then what waits is told at once."""
    with_peer = Site(Cluster("a", a=100.0, b=100.0))
    alone = Site(Cluster("a", a=100.0))
    for site in (with_peer, alone):
        site.note(CHANNEL, begins=False)
        site.keeper.leave(0.0)
    assert (with_peer.at(10.0), alone.at(10.0)) == ([], ["channel_vacated"])


def test_counts_are_told_but_for_presence_channels() -> None:
    """Which is the caller's affair: here, each change is told."""
    site = Site()
    site.keeper.note_count("1", "a", 2, 0.0)
    site.keeper.note_count("2", "a", 2, 0.0)
    assert site.at(0.0) == ["subscription_count"]


# -- who sends --------------------------------------------------------------------------------------------------------


def duty(me: str, met: float = 0.0, **ages: float) -> Duty:
    """The duty of a node that met all others at 0, at the time `met`."""
    rota = Rota(me, in_order, settle=8.0)
    rota.update({me: ages[me]}, -100.0)
    rota.update(ages, 0.0)
    rota.update(ages, met)
    return rota.duty("1", 0)


def test_first_by_rank_sends_and_the_second_watches() -> None:
    """The third does neither."""
    assert [duty(me, 10.0, a=100, b=100, c=100) for me in "abc"] == [Duty("a", True), Duty("a", True), Duty("a", False)]


def test_newcomer_watches_until_it_is_old_enough() -> None:
    """All agree on who sends until then; who is to follow next is watching already."""
    assert [duty(me, 10.0, a=7, b=100, c=100) for me in "abc"] == [Duty("b", True), Duty("b", True), Duty("b", True)]
    assert [duty(me, 10.0, a=8, b=108, c=108) for me in "abc"] == [Duty("a", True), Duty("a", True), Duty("a", False)]


def test_nodes_that_start_together_share_the_work_from_the_start() -> None:
    """None is clearly older, once one of them is ready."""
    assert [duty(me, 2.0, a=1, b=2, c=2).sender for me in "abc"] == ["a", "a", "a"]
    assert [duty(me, 2.0, a=2, b=3, c=3).sender for me in "abc"] == ["b", "b", "b"]
    assert [duty(me, 2.0, a=3, b=5, c=4).sender for me in "abc"] == ["a", "a", "a"]


def test_old_nodes_that_have_just_met_both_send() -> None:
    """For a while: a partition has healed, and each takes back what it told wrongly."""
    assert [duty(me, 1.0, a=100, b=100).sender for me in "ab"] == ["a", "b"]
    assert [duty(me, 3.0, a=100, b=100).sender for me in "ab"] == ["a", "a"]


def test_miss_is_told_by_the_sender_and_remembered_by_the_follower() -> None:
    """The node where it happened lets both know; the third does nothing itself."""
    for me, others, sent in (("a", ["b"], ["cache_miss"]), ("b", ["a"], []), ("c", ["a", "b"], [])):
        site = Site(Cluster(me, a=100.0, b=100.0, c=100.0), *NAMES, "cache_miss")
        site.at(5.0)
        assert site.keeper.note_miss("1", "cache-a", 5.0) == others
        assert site.at(5.0) == sent
        del site.cluster.by_age["a"]
        site.keeper.peer_lost("a", 2.0, politely=False, now=6.0)
        assert [event.name for event in site.sent] == (["cache_miss"] if me == "b" else [])


def test_miss_is_told_by_its_own_node_when_the_bus_is_away() -> None:
    """Nobody else can."""
    site = Site(Cluster("c", a=100.0, b=100.0, c=100.0), "cache_miss")
    site.cluster.connected = False
    site.keeper.note_miss("1", "cache-a", 0.0)
    assert site.at(0.0) == ["cache_miss"]


def test_shards_of_many_apps_are_assigned_a_few_in_each_tick() -> None:
    """None is late by more than a moment, and what happens in it is not lost."""
    cluster = Cluster("b", a=100.0, b=100.0)
    site = Site(cluster)
    webhooks = app(*NAMES).webhooks
    site.apps.replace(App(id=str(number), key=str(number), secrets=("s",), webhooks=webhooks) for number in range(1, 31))
    site.at(0.25)
    assert 0 < len(cluster.watched) < 30
    site.at(3.0)
    assert len(cluster.watched) == 90
    for number in range(1, 31):
        site.note(Fact(Kind.CHANNEL, str(number), "a"), begins=True)
    del cluster.by_age["a"]
    site.keeper.peer_lost("a", 2.0, politely=False, now=3.0)
    assert len(site.sent) < 30
    assert site.at(6.0) == ["channel_occupied"] * 30
