"""Ids that mean something to NATS, to URLs, to JSON or to JavaScript are only ids, from end to end."""

import pytest

from tests.compat.apps import OTHER, users
from tests.compat.browser import Browser
from tests.compat.conftest import BackendAt, Nodes
from tests.compat.test_terminations import sees_termination

IDS = {
    "dot": "a.b",
    "star": "*",
    "rest": ">",
    "dots": "..",
    "blank": "x y",
    "slash and letters": "ü/…",
    "escape": "%2F%",
    "query": "?a=b&c#d",
    "quotes": '"\'\\"',
    "channel": "#server-to-user-ann",
    "prototype": "__proto__",
    "long": "x" * 200,
    "long in bytes": "🙂" * 200,
}
"""No two tests use the same: a user of an earlier one may still linger."""


@pytest.mark.parametrize("user", IDS.values(), ids=IDS.keys())
async def test_user_with_an_odd_id_is_seen_reached_and_terminated_alone(
    browser: Browser, nodes: Nodes, backend: BackendAt, user: str
) -> None:
    """On three nodes; neither another user nor the same id in another app notices anything."""
    (ann,) = users("ann")
    first, second, third = nodes
    watcher = await browser.sign_in(first, ann, [user])
    others_watcher = await browser.sign_in(first, ann, [user], app=OTHER)
    await watcher.sees("offline", [user])
    await others_watcher.sees("offline", [user])
    tab = await browser.sign_in(second, user)
    await watcher.sees("online", [user])
    stranger = await browser.sign_in(second, user, app=OTHER)
    await others_watcher.sees("online", [user])

    api, others_api = backend(third), backend(third, OTHER)
    assert await api.connections(user) == await others_api.connections(user) == 1
    await api.tell(user, "news", "by path")
    await api.trigger(user, "news", "by channel")
    await browser.call(third, "sendToUser", user, "news", "by the Node SDK")
    for form in ("path", "channel", "the Node SDK"):
        await tab.sees("news", f"by {form}")
    await api.terminate(user)
    await sees_termination(tab)
    await tab.sees("signed in", tab.answer["user_data"])

    await others_api.tell(user, "marker", "stranger")
    await stranger.sees("marker", "stranger")
    for witness, its_api in ((watcher, api), (others_watcher, others_api)):
        await its_api.tell(ann, "marker", "witness")
        await witness.sees("marker", "witness")


@pytest.mark.parametrize("name", ["trigger", "tell"])
async def test_event_for_an_id_that_nobody_can_have_is_refused(nodes: Nodes, backend: BackendAt, name: str) -> None:
    """201 characters."""
    path, channels = {
        "trigger": ("/events", {"channels": [f"#server-to-user-{'x' * 201}"]}),
        "tell": (f"/users/{'x' * 201}/events", {}),
    }[name]
    response = await backend(nodes[0]).ask("POST", path, {"name": "news", "data": "", **channels})
    assert response.status == 400
