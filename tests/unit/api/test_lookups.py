"""What requests to the API ask of channels (protocol.md 8.3)."""

from typing import Any

import pytest

from node.config.apps import App, Apps
from tests.unit.api.support import Bench, Kept, RecordedAudience, make_request, sign_request

SUBSCRIPTIONS = {"room": 13, "presence-a": 51, "presence-b": 1, "private-x": 2}
USERS = {"presence-a": ["ann", "bob"], "presence-b": ["ü/…"]}


def full(kept: Kept | None = None) -> Bench:
    """An API of a cluster with some channels."""
    return Bench(audience=RecordedAudience(subscriptions=SUBSCRIPTIONS, users=USERS, kept=kept))


async def ask(bench: Bench, path: str, **arguments: str) -> tuple[int, Any]:
    """The answer to a signed GET below the app."""
    return await bench.send(sign_request("GET", f"/apps/1001/channels{path}", parameters=arguments))


# -- all channels -------------------------------------------------------------------------------------------------


async def test_channels_are_listed_as_objects() -> None:
    """The occupied ones, each with an empty object."""
    assert await ask(full(), "") == (200, {"channels": {name: {} for name in SUBSCRIPTIONS}})


async def test_channels_are_an_empty_object_when_there_are_none() -> None:
    """PHP's SDK fails on an array."""
    assert await ask(Bench(), "") == (200, {"channels": {}})


async def test_channels_are_listed_by_prefix_with_what_is_asked_of_them() -> None:
    """Users and subscriptions of all of them from one look each."""
    bench = full()
    answer = await ask(bench, "", filter_by_prefix="presence-", info="user_count,subscription_count")
    presence = {
        "presence-a": {"user_count": 2, "subscription_count": 51},
        "presence-b": {"user_count": 1, "subscription_count": 1},
    }
    assert answer == (200, {"channels": presence})
    assert [call[0] for call in bench.audience.calls] == ["channels", "users"]


async def test_channels_are_listed_with_their_subscriptions_whatever_the_prefix() -> None:
    """Pusher does not offer it, other servers do."""
    answer = await ask(full(), "", filter_by_prefix="pr", info="subscription_count")
    counts = {name: {"subscription_count": count} for name, count in SUBSCRIPTIONS.items() if name.startswith("pr")}
    assert answer == (200, {"channels": counts})


@pytest.mark.parametrize("prefix", ["", "presence", "private-", "presence_"])
async def test_channels_are_not_listed_with_users_when_the_prefix_lets_others_pass(prefix: str) -> None:
    """Only presence channels have any (400)."""
    bench = full()
    status, answer = await ask(bench, "", filter_by_prefix=prefix, info="user_count")
    assert (status, bench.audience.calls) == (400, [])
    assert "filter_by_prefix=presence-" in answer["error"]


@pytest.mark.parametrize("prefix", ["presence-", "presence-cache-", "presence-a"])
async def test_channels_are_listed_with_users_when_the_prefix_lets_only_presence_channels_pass(prefix: str) -> None:
    """Longer prefixes do."""
    assert (await ask(full(), "", filter_by_prefix=prefix, info="user_count"))[0] == 200


@pytest.mark.parametrize("info", ["cache", "members", "user_count;cache", " user_count"])
async def test_channels_are_not_listed_with_what_there_is_not(info: str) -> None:
    """400 says what there is."""
    assert (await ask(full(), "", filter_by_prefix="presence-", info=info))[0] == 400


@pytest.mark.parametrize("info", ["", ",", "subscription_count,subscription_count,"])
async def test_channels_are_listed_when_info_is_odd(info: str) -> None:
    """Nothing between commas asks for nothing, and twice for once."""
    assert (await ask(full(), "", info=info))[0] == 200


# -- one channel --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channel", "occupied"), [("room", True), ("nobody-here", False), ("presence-b", True)])
async def test_channel_is_occupied_or_not(channel: str, occupied: bool) -> None:
    """200 either way."""
    assert await ask(full(), f"/{channel}") == (200, {"occupied": occupied})


async def test_channel_is_described_by_all_that_it_has() -> None:
    """A presence cache channel has every attribute."""
    bench = full(Kept("moved", "text", 59.1))
    bench.audience.subscriptions = {"presence-cache-a": 7}
    bench.audience.users = {"presence-cache-a": ["x"]}
    answer = await ask(bench, "/presence-cache-a", info="user_count,subscription_count,cache")
    cache = {"event": "moved", "data": "text", "ttl": 60}
    assert answer == (200, {"occupied": True, "user_count": 1, "subscription_count": 7, "cache": cache})


async def test_channel_is_described_when_it_is_vacant() -> None:
    """Counts are 0, and the cache may be full all the same."""
    vacant = {"occupied": False, "user_count": 0, "subscription_count": 0}
    assert await ask(full(), "/presence-z", info="user_count,subscription_count") == (200, vacant)
    answer = await ask(full(Kept("e", "", 0.2)), "/cache-z", info="cache")
    assert answer == (200, {"occupied": False, "cache": {"event": "e", "data": "", "ttl": 1}})


@pytest.mark.parametrize("channel", ["cache-x", "private-cache-x", "presence-cache-x", "private-encrypted-cache-x"])
async def test_channel_has_no_cache_when_nothing_is_kept(channel: str) -> None:
    """`null`."""
    assert await ask(full(), f"/{channel}", info="cache") == (200, {"occupied": False, "cache": None})


async def test_channel_is_occupied_when_a_member_is_known_before_the_count() -> None:
    """The two come one after the other; an answer does not contradict itself."""
    bench = Bench(audience=RecordedAudience(users={"presence-a": ["ann"]}))
    answer = await ask(bench, "/presence-a", info="user_count")
    assert answer == (200, {"occupied": True, "user_count": 1})


@pytest.mark.parametrize(
    ("channel", "info"),
    [
        ("room", "user_count"),
        ("private-x", "user_count"),
        ("private-encrypted-x", "subscription_count,user_count"),
        ("room", "cache"),
        ("presence-a", "user_count,cache"),
        ("room", "other"),
    ],
)
async def test_channel_is_not_described_by_what_its_kind_does_not_have(channel: str, info: str) -> None:
    """400, before anything is asked of the cluster."""
    bench = full()
    status, answer = await ask(bench, f"/{channel}", info=info)
    assert (status, bench.audience.calls) == (400, [])
    assert info.rpartition(",")[2] in answer["error"]


@pytest.mark.parametrize("tail", ["", "/users"])
@pytest.mark.parametrize("channel", ["a%20b", "%23room", "%FF", "x" * 201, "a%2Fb", "..%2F", "%00"])
async def test_channel_is_refused_when_no_channel_can_have_its_name(channel: str, tail: str) -> None:
    """400 says what a name is made of."""
    status, answer = await ask(full(), f"/{channel}{tail}")
    assert status == 400
    assert answer["error"].startswith("Invalid channel name")


@pytest.mark.parametrize("tail", ["", "/users"])
async def test_channel_of_a_user_is_nobodys_to_look_into(tail: str) -> None:
    """400 names the route that tells of users."""
    status, answer = await ask(full(), f"/%23server-to-user-1{tail}")
    assert status == 400
    assert "/apps/{id}/users/{user_id}" in answer["error"]


async def test_channel_name_limit_is_the_apps() -> None:
    """As for events."""
    app = App(id="1", key="k", secrets=("s",), channel_name_limit=3)
    bench = Bench(apps=Apps([app]))
    statuses = [(await bench.send(sign_request("GET", f"/apps/1/channels/{name}", app=app)))[0] for name in ("abc", "abcd")]
    assert statuses == [200, 400]


@pytest.mark.parametrize("segment", ["a=@,.;-_Z9", "a%3D%40%2C.%3B-_Z9"])
async def test_channel_name_is_the_same_escaped_and_raw(segment: str) -> None:
    """SDKs differ (8.2)."""
    bench = full()
    assert (await ask(bench, f"/{segment}"))[0] == 200
    assert bench.audience.calls == [("subscriptions", "1001", "a=@,.;-_Z9")]


async def test_info_is_read_when_php_sends_an_array() -> None:
    """Signed as `info=a,b`, sent as `info[0]=a&info[1]=b` (8.2)."""
    path = "/apps/1001/channels/presence-a"
    signed = sign_request("GET", path, parameters={"info": "user_count,subscription_count"})
    array = "info%5B0%5D=user_count&info%5B1%5D=subscription_count"
    query = signed.query.replace("info=user_count%2Csubscription_count", array)
    assert query != signed.query
    answer = await full().send(make_request("GET", path, query))
    assert answer == (200, {"occupied": True, "user_count": 2, "subscription_count": 51})


# -- members ------------------------------------------------------------------------------------------------------


async def test_members_are_listed_by_id() -> None:
    """Ids are strings."""
    assert await ask(full(), "/presence-a/users") == (200, {"users": [{"id": "ann"}, {"id": "bob"}]})


async def test_members_are_an_empty_list_when_nobody_is_there() -> None:
    """200, as SDKs want it."""
    assert await ask(full(), "/presence-z/users") == (200, {"users": []})


@pytest.mark.parametrize("channel", ["room", "private-x", "presencea", "cache-presence-a"])
async def test_members_are_refused_when_the_channel_has_none(channel: str) -> None:
    """400: only presence channels do."""
    bench = full()
    assert (await ask(bench, f"/{channel}/users"))[0] == 400
    assert bench.audience.calls == []
