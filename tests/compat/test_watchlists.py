"""pusher-js watches who comes and goes, on whichever node (protocol.md 4).

Where something must not be seen, something else is caused after it, by the same node, and is what is seen next.
"""

import trio

from tests.compat.apps import MAIN, OTHER, SHORT, user_data, users
from tests.compat.browser import Browser
from tests.compat.conftest import BackendAt, Nodes
from tests.compat.test_terminations import RETURN_TAKES


async def test_users_who_watch_each_other_see_what_pusher_documents(browser: Browser, nodes: Nodes) -> None:
    """Three users on three nodes come and go: the sequence of protocol.md 4.2, row by row."""
    ann, bob, cid = users("ann", "bob", "cid")
    first = await browser.sign_in(nodes[0], ann, [bob, cid])
    await first.sees("offline", [bob, cid])

    second = await browser.sign_in(nodes[1], bob, [ann, cid])
    await second.sees("offline", [cid])
    await second.sees("online", [ann])
    await first.sees("online", [bob])

    third = await browser.sign_in(nodes[2], cid, [ann, bob])
    await third.sees("online", [ann, bob])
    await second.sees("online", [cid])
    await first.sees("online", [cid])

    await first.disconnect()
    await third.sees("offline", [ann])
    await second.sees("offline", [ann])

    await second.disconnect()
    await third.sees("offline", [bob])


async def test_watcher_sees_the_state_of_everyone_in_the_order_of_its_list(browser: Browser, nodes: Nodes) -> None:
    """Offline ones included, each once, the watcher itself online; what cannot be an id is nobody."""
    ann, bob, cid, dee, eve = users("ann", "bob", "cid", "dee", "eve")
    await browser.sign_in(nodes[1], bob)
    await browser.sign_in(nodes[2], cid)
    watcher = await browser.sign_in(nodes[0], ann, [dee, cid, ann, eve, cid, bob, 7, "", None])
    await watcher.sees("offline", [dee, eve])
    await watcher.sees("online", [cid, ann, bob])


async def test_watcher_sees_nothing_of_a_second_tab(browser: Browser, nodes: Nodes, backend: BackendAt) -> None:
    """Neither when it opens nor when one of the two closes; the last one makes the user offline."""
    ann, bob, cid, dee = users("ann", "bob", "cid", "dee")
    watcher = await browser.sign_in(nodes[0], ann, [bob, cid, dee])
    await watcher.sees("offline", [bob, cid, dee])
    one = await browser.sign_in(nodes[1], bob)
    await watcher.sees("online", [bob])

    two = await browser.sign_in(nodes[2], bob)
    marker = await browser.sign_in(nodes[2], cid)
    await watcher.sees("online", [cid])

    await one.disconnect()
    await backend(nodes[0]).until_connections(bob, 1)
    await marker.disconnect()
    await watcher.sees("offline", [cid])

    await two.disconnect()
    await watcher.sees("offline", [bob])


async def test_watcher_sees_nothing_of_a_page_that_reloads(browser: Browser, nodes: Nodes, backend: BackendAt) -> None:
    """The tab leaves one node and comes to another within the linger."""
    ann, bob, cid = users("ann", "bob", "cid")
    watcher = await browser.sign_in(nodes[0], ann, [bob, cid])
    await watcher.sees("offline", [bob, cid])
    before = await browser.sign_in(nodes[1], bob)
    await watcher.sees("online", [bob])
    marker = await browser.sign_in(nodes[1], cid)
    await watcher.sees("online", [cid])

    await before.disconnect()
    after = await browser.open(nodes[2], bob)
    after.endpoint_takes = RETURN_TAKES
    await after.sign_in()
    await after.sees("signed in", user_data(bob))
    await marker.disconnect()
    await watcher.sees("offline", [cid])
    await backend(nodes[0]).until_connections(bob, 1)
    await after.disconnect()
    await watcher.sees("offline", [bob])


async def test_every_tab_of_a_watcher_sees_what_its_own_list_names(browser: Browser, nodes: Nodes) -> None:
    """Also tabs of one user, on one node or on several, with different lists or none."""
    ann, bob, cid = users("ann", "bob", "cid")
    bobs = await browser.sign_in(nodes[0], ann, [bob])
    cids = await browser.sign_in(nodes[0], ann, [cid])
    both = await browser.sign_in(nodes[1], ann, [bob, cid])
    await browser.sign_in(nodes[1], ann)
    await bobs.sees("offline", [bob])
    await cids.sees("offline", [cid])
    await both.sees("offline", [bob, cid])
    await browser.sign_in(nodes[2], bob)
    await bobs.sees("online", [bob])
    await both.sees("online", [bob])
    await browser.sign_in(nodes[2], cid)
    await cids.sees("online", [cid])
    await both.sees("online", [cid])


async def test_watcher_with_too_long_a_list_watches_its_beginning(browser: Browser, nodes: Nodes) -> None:
    """Success first, then error 4302, then the state of those who count; the others come unseen."""
    ann, bob, cid, dee = users("ann", "bob", "cid", "dee")
    watcher = await browser.sign_in(nodes[0], ann, [bob, cid, dee], app=SHORT)
    await watcher.sees("error", 4302, "Watchlist limit exceeded. Only the first 2 user IDs are accepted.")
    await watcher.sees("offline", [bob, cid])
    await browser.sign_in(nodes[1], dee, app=SHORT)
    await browser.sign_in(nodes[1], cid, app=SHORT)
    await watcher.sees("online", [cid])


async def test_watcher_with_a_hundred_ids_is_within_the_limit(browser: Browser, nodes: Nodes) -> None:
    """The default limit, which one more exceeds."""
    ann, bob, *_ = users("ann", "bob")
    hundred = [f"{bob}-{i}" for i in range(100)]
    within = await browser.sign_in(nodes[0], ann, hundred)
    await within.sees("offline", hundred)
    beyond = await browser.sign_in(nodes[0], ann, [*hundred, bob])
    await beyond.sees("error", 4302, "Watchlist limit exceeded. Only the first 100 user IDs are accepted.")
    await beyond.sees("offline", hundred)


async def test_watcher_sees_users_of_its_own_app_only(browser: Browser, nodes: Nodes) -> None:
    """An id means somebody else in another app."""
    ann, bob = users("ann", "bob")
    watcher = await browser.sign_in(nodes[0], ann, [bob], app=MAIN)
    others = await browser.sign_in(nodes[0], ann, [bob], app=OTHER)
    await watcher.sees("offline", [bob])
    await others.sees("offline", [bob])
    await browser.sign_in(nodes[1], bob, app=OTHER)
    await others.sees("online", [bob])
    late = await browser.sign_in(nodes[2], ann, [bob], app=MAIN)
    await late.sees("offline", [bob])
    await browser.sign_in(nodes[1], bob, app=MAIN)
    await watcher.sees("online", [bob])
    await late.sees("online", [bob])


async def test_watchers_who_sign_in_at_once_miss_nobody(browser: Browser, nodes: Nodes) -> None:
    """Ten on every node, who all watch each other: at the end everyone has seen everyone online, and once."""
    everyone = users(*(f"user{i}" for i in range(30)))
    tabs = [await browser.open(nodes[i % 3], user, everyone) for i, user in enumerate(everyone)]
    async with trio.open_nursery() as nursery:
        for tab in tabs:
            nursery.start_soon(tab.sign_in)
    for tab in tabs:
        kind, _ = await tab.next()
        assert kind == "signed in"
        online: list[str] = []
        while len(online) < len(everyone):
            kind, user_ids = await tab.next()
            online += user_ids if kind == "online" else []
        assert sorted(online) == sorted(everyone)
