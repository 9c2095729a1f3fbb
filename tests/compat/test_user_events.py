"""Events for a user arrive at every tab of that user, once, and nowhere else (protocol.md 3)."""

import json

import pytest

from tests.compat.apps import OTHER, users
from tests.compat.browser import Browser
from tests.compat.conftest import BackendAt, Nodes


@pytest.mark.parametrize("form", ["tell", "trigger"])
async def test_every_tab_of_a_user_gets_an_event_once(browser: Browser, nodes: Nodes, backend: BackendAt, form: str) -> None:
    """By both forms of request, through each node; nobody else gets it."""
    ann, bob = users("ann", "bob")
    anns = [await browser.sign_in(node, ann) for node in (*nodes, nodes[0])]
    others = [await browser.sign_in(nodes[0], bob), await browser.sign_in(nodes[0], ann, app=OTHER)]
    for number, node in enumerate(nodes):
        await getattr(backend(node), form)(ann, "news", {"number": number})
        for tab in anns:
            await tab.sees("news", {"number": number})
    await backend(nodes[2]).tell(ann, "marker", "last")
    await backend(nodes[2]).tell(bob, "marker", "last")
    await backend(nodes[2], OTHER).tell(ann, "marker", "last")
    for tab in (*anns, *others):
        await tab.sees("marker", "last")


@pytest.mark.parametrize("form", ["tell", "trigger"])
async def test_tab_that_caused_an_event_does_not_get_it(
    browser: Browser, nodes: Nodes, backend: BackendAt, form: str
) -> None:
    """`socket_id` excludes one connection, wherever it is."""
    (ann,) = users("ann")
    here, there, elsewhere = [await browser.sign_in(node, ann) for node in nodes]
    api = backend(nodes[2])
    for excluded, included in ((here, (there, elsewhere)), (elsewhere, (here, there))):
        await getattr(api, form)(ann, "news", 1, socket_id=excluded.socket_id)
        await api.tell(ann, "marker", 2)
        for tab in included:
            await tab.sees("news", 1)
            await tab.sees("marker", 2)
        await excluded.sees("marker", 2)


async def test_batch_reaches_each_of_its_users(browser: Browser, nodes: Nodes, backend: BackendAt) -> None:
    """In order, each event with its own exclusion."""
    ann, bob = users("ann", "bob")
    anns, bobs, also_bobs = [await browser.sign_in(nodes[i], user) for i, user in ((0, ann), (1, bob), (2, bob))]
    batch = [
        {"channel": f"#server-to-user-{ann}", "name": "news", "data": "1"},
        {"channel": f"#server-to-user-{bob}", "name": "news", "data": "2"},
        {"channel": f"#server-to-user-{bob}", "name": "news", "data": "3", "socket_id": bobs.socket_id},
        {"channel": f"#server-to-user-{bob}", "name": "news", "data": "4"},
        {"channel": f"#server-to-user-{ann}", "name": "news", "data": "5"},
    ]
    assert await backend(nodes[2]).post("/batch_events", {"batch": batch}) == {}
    for tab, numbers in ((anns, (1, 5)), (bobs, (2, 4)), (also_bobs, (2, 3, 4))):
        for number in numbers:
            await tab.sees("news", number)


async def test_one_request_reaches_several_users(browser: Browser, nodes: Nodes, backend: BackendAt) -> None:
    """`channels` names them; a user who is nowhere is no error, and one who is named twice is told once."""
    ann, bob, nobody = users("ann", "bob", "nobody")
    tabs = [await browser.sign_in(nodes[i], user) for i, user in ((0, ann), (1, bob))]
    api = backend(nodes[2])
    channels = [f"#server-to-user-{user}" for user in (ann, nobody, bob, ann)]
    assert await api.post("/events", {"name": "news", "data": "1", "channels": channels}) == {}
    for user, tab in zip((ann, bob), tabs, strict=True):
        await api.tell(user, "marker", 2)
        await tab.sees("news", 1)
        await tab.sees("marker", 2)


async def test_events_arrive_in_the_order_in_which_one_backend_sent_them(
    browser: Browser, nodes: Nodes, backend: BackendAt
) -> None:
    """A hundred of them."""
    (ann,) = users("ann")
    tab = await browser.sign_in(nodes[0], ann)
    api = backend(nodes[1])
    for number in range(1, 101):
        await api.trigger(ann, "news", number)
    for number in range(1, 101):
        await tab.sees("news", number)


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        pytest.param("", None, id="empty"),  # pusher-js calls its handlers without what is falsy
        pytest.param("no JSON {", "no JSON {", id="text"),
        pytest.param(json.dumps("ü ☺ \u2028 \x00 </script>"), "ü ☺ \u2028 \x00 </script>", id="odd characters"),
        pytest.param(json.dumps({"a": [1.5, None, {"b": "\\"}]}), {"a": [1.5, None, {"b": "\\"}]}, id="object"),
        pytest.param("x" * 10_240, "x" * 10_240, id="as long as may be"),
    ],
)
async def test_data_arrives_as_it_was_sent(
    browser: Browser, nodes: Nodes, backend: BackendAt, data: str, seen: object
) -> None:
    """Whether it is JSON or not."""
    (ann,) = users("ann")
    tab = await browser.sign_in(nodes[0], ann)
    assert (await backend(nodes[1]).send_to_user(ann, "news", data)).status == 200
    await tab.sees("news", seen)


async def test_unbound_event_name_of_two_hundred_characters_arrives(
    browser: Browser, nodes: Nodes, backend: BackendAt
) -> None:
    """As long as a name may be."""
    (ann,) = users("ann")
    tab = await browser.sign_in(nodes[0], ann)
    await backend(nodes[1]).tell(ann, "é" * 200, 1)
    await tab.sees("event", "é" * 200, 1)
