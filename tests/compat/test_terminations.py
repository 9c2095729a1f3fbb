"""A user's connections are closed everywhere, and pusher-js comes back by itself (protocol.md 5)."""

from tests.compat.apps import MAIN, OTHER, token, user_data, users
from tests.compat.browser import Browser, Tab
from tests.compat.conftest import BackendAt, Nodes

MESSAGE = "You got disconnected by the app"
RETURN_TAKES = 0.3
"""Seconds that a tab is away: less than the linger, but long enough to be noticed without one."""


async def sees_termination(tab: Tab) -> None:
    """The tab is closed with 4200, and pusher-js connects again at once."""
    await tab.sees_close(4200, MESSAGE)
    await tab.sees("connecting")
    await tab.sees("connected")


async def test_terminated_user_signs_in_again_and_no_watcher_notices(
    browser: Browser, nodes: Nodes, backend: BackendAt
) -> None:
    """Watcher, user and terminating API are on three nodes. The return is within the linger, so the user never left."""
    ann, bob, cid = users("ann", "bob", "cid")
    watcher = await browser.sign_in(nodes[0], ann, [bob, cid])
    await watcher.sees("offline", [bob, cid])
    tab = await browser.sign_in(nodes[1], bob, [ann])
    await tab.sees("online", [ann])
    await watcher.sees("online", [bob])
    marker = await browser.sign_in(nodes[1], cid)
    await watcher.sees("online", [cid])

    before, tab.endpoint_takes = tab.socket_id, RETURN_TAKES
    await backend(nodes[2]).terminate(bob)
    await sees_termination(tab)
    await tab.sees("signed in", user_data(bob, [ann]))
    await tab.sees("online", [ann])
    assert tab.socket_id != before

    await marker.disconnect()
    await watcher.sees("offline", [cid])
    await backend(nodes[2]).tell(bob, "news", 1)
    await tab.sees("news", 1)


async def test_terminated_user_whom_the_application_refuses_is_offline(
    browser: Browser, nodes: Nodes, backend: BackendAt
) -> None:
    """This is how an application bans: its endpoint says no from now on, and the tab is connected as nobody."""
    ann, bob = users("ann", "bob")
    banned = False

    def authenticate(socket_id: str) -> dict[str, str]:
        if banned:
            raise PermissionError("banned")
        return token(MAIN, socket_id, user_data(bob))

    watcher = await browser.sign_in(nodes[0], ann, [bob])
    await watcher.sees("offline", [bob])
    tab = await browser.sign_in(nodes[1], bob, authenticate=authenticate)
    await watcher.sees("online", [bob])
    banned = True
    await backend(nodes[2]).terminate(bob)
    await sees_termination(tab)
    await tab.sees("signin error", "banned")
    await watcher.sees("offline", [bob])


async def test_termination_closes_every_tab_of_the_user_and_no_other(
    browser: Browser, nodes: Nodes, backend: BackendAt
) -> None:
    """Wherever they are; other users, the same id in another app, and tabs that did not sign in stay."""
    ann, bob = users("ann", "bob")
    anns = [await browser.sign_in(node, ann) for node in (*nodes, nodes[0])]
    others = [await browser.sign_in(nodes[0], bob), await browser.sign_in(nodes[0], ann, app=OTHER)]
    await browser.open(nodes[0], ann)
    await backend(nodes[2]).terminate(ann)
    for tab in anns:
        await sees_termination(tab)
        await tab.sees("signed in", user_data(ann))
    await backend(nodes[2]).tell(bob, "marker", 1)
    await backend(nodes[2], OTHER).tell(ann, "marker", 1)
    for tab in others:
        await tab.sees("marker", 1)


async def test_termination_of_a_user_who_is_nowhere_succeeds(nodes: Nodes, backend: BackendAt) -> None:
    """As it does when the user left a moment before."""
    (nobody,) = users("nobody")
    await backend(nodes[0]).terminate(nobody)
