"""pusher-js signs in, or is refused (protocol.md 2)."""

import pytest

from tests.client import Credentials
from tests.compat.apps import GUARDED, MAIN, NOT_YET_ROTATED, OTHER, ROTATED, token, user_data, users
from tests.compat.browser import Browser
from tests.compat.conftest import BackendAt, Nodes

ANOTHER_USER = "Connection is already signed in as another user"


async def test_tab_gets_the_very_user_data_back_that_it_sent(browser: Browser, nodes: Nodes) -> None:
    """Spaces, escapes and unknown fields included."""
    (ann,) = users("ann")
    description = f'{{ "name" : "Ann \\u00dc\\n☺",  "id":"{ann}", "roles": [1, null] }}'
    await browser.sign_in(nodes[0], ann, authenticate=lambda socket_id: token(MAIN, socket_id, description))


async def test_tab_stays_connected_when_its_signature_is_wrong(browser: Browser, nodes: Nodes) -> None:
    """It is told why, and a right signature on the same connection is as good as ever."""
    (ann,) = users("ann")
    tab = await browser.open(nodes[0], ann, authenticate=lambda _: token(MAIN, "1.1", user_data(ann)))
    await tab.sign_in()
    kind, code, message = await tab.next()
    assert (kind, code) == ("error", 4009)
    assert message.startswith(f"Invalid signature: Expected HMAC SHA256 hex digest of {tab.socket_id}::user::")
    await tab.send_sign_in(token(MAIN, tab.socket_id, user_data(ann)))
    await tab.sees("signed in", user_data(ann))


@pytest.mark.parametrize(
    ("signer", "description"),
    [
        pytest.param(OTHER, user_data("ann"), id="by another app"),
        pytest.param(MAIN, user_data(7), id="numeric id"),
        pytest.param(MAIN, user_data(""), id="empty id"),
        pytest.param(MAIN, user_data("a" * 201), id="long id"),
        pytest.param(MAIN, '{"name": "Ann"}', id="no id"),
        pytest.param(MAIN, "Ann", id="no JSON"),
    ],
)
async def test_tab_is_told_when_it_cannot_be_signed_in(
    browser: Browser, nodes: Nodes, signer: Credentials, description: str
) -> None:
    """Error 4009, and nothing else."""
    tab = await browser.open(nodes[0], authenticate=lambda socket_id: token(signer, socket_id, description))
    await tab.sign_in()
    assert (await tab.next())[:2] == ["error", 4009]
    await tab.disconnect()


async def test_tab_whose_endpoint_refuses_stays_connected(browser: Browser, nodes: Nodes) -> None:
    """Then the server hears nothing of a sign-in."""

    def refuse(_socket_id: str) -> dict[str, str]:
        raise PermissionError("not you")

    tab = await browser.open(nodes[0], authenticate=refuse)
    await tab.sign_in()
    await tab.sees("signin error", "not you")
    await tab.send_sign_in(token(MAIN, tab.socket_id, user_data("ann")))
    await tab.sees("signed in", user_data("ann"))


async def test_tab_signs_in_again_as_the_same_user_without_noise(browser: Browser, nodes: Nodes, backend: BackendAt) -> None:
    """The new watchlist counts, watchers see nothing, and events still arrive once."""
    ann, bob, cid = users("ann", "bob", "cid")
    watcher = await browser.sign_in(nodes[1], bob, [ann, cid])
    await watcher.sees("offline", [ann, cid])
    tab = await browser.sign_in(nodes[0], ann)
    await watcher.sees("online", [ann])
    await tab.send_sign_in(token(MAIN, tab.socket_id, user_data(ann, [bob])))
    await tab.sees("signed in", user_data(ann, [bob]))
    await tab.sees("online", [bob])
    await backend(nodes[2]).tell(ann, "news", 1)
    await tab.sees("news", 1)
    await browser.sign_in(nodes[0], cid)
    await watcher.sees("online", [cid])


async def test_tab_stays_who_it_is_when_it_signs_in_as_another_user(
    browser: Browser, nodes: Nodes, backend: BackendAt
) -> None:
    """Error 4009; nobody sees the other user, and the first one goes on receiving."""
    ann, bob, cid, dee = users("ann", "bob", "cid", "dee")
    watcher = await browser.sign_in(nodes[1], bob, [ann, cid, dee])
    await watcher.sees("offline", [ann, cid, dee])
    tab = await browser.sign_in(nodes[0], ann)
    await watcher.sees("online", [ann])
    await tab.send_sign_in(token(MAIN, tab.socket_id, user_data(cid)))
    await tab.sees("error", 4009, ANOTHER_USER)
    api = backend(nodes[2])
    await api.tell(cid, "news", 1)
    await api.tell(ann, "marker", 2)
    await tab.sees("marker", 2)
    await browser.sign_in(nodes[0], dee)
    await watcher.sees("online", [dee])


@pytest.mark.parametrize("app", [ROTATED, NOT_YET_ROTATED])
async def test_tab_signs_in_with_either_secret_while_they_are_rotated(
    browser: Browser, nodes: Nodes, app: Credentials, backend: BackendAt
) -> None:
    """Clients and API requests that were signed with the old secret are as good as those with the new one."""
    (ann,) = users("ann")
    tab = await browser.sign_in(nodes[0], ann, app=app)
    await backend(nodes[1], app).tell(ann, "news", 1)
    await tab.sees("news", 1)


async def test_tab_that_does_not_sign_in_is_closed_where_that_is_required(browser: Browser, nodes: Nodes) -> None:
    """With 4009, after the app's timeout: pusher-js does not come back. A signed-in one of the same age stays."""
    (ann,) = users("ann")
    signed_in = await browser.sign_in(nodes[0], ann, app=GUARDED)
    idle = await browser.open(nodes[0], app=GUARDED)
    await idle.sees_close(4009, "Connection not authorized within timeout")
    await idle.sees("disconnected")
    await signed_in.disconnect()
